"""Bodies that attract each other: floating point in nested loops, as scientists write them."""


def nbody(n):
    bodies = [
        [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], 39.47],
        [[4.84, -1.16, -0.10], [0.60, 2.81, -0.02], 0.037],
        [[8.34, 4.12, -0.40], [-1.01, 1.82, 0.008], 0.011],
        [[12.89, -15.11, -0.22], [1.08, 0.86, -0.01], 0.0017],
    ]
    pairs = [(a, b) for i, a in enumerate(bodies) for b in bodies[i + 1 :]]
    for _ in range(1_500):
        for (p, v, mass), (q, w, other) in pairs:
            d = [p[axis] - q[axis] for axis in range(3)]
            pull = 0.01 / (d[0] * d[0] + d[1] * d[1] + d[2] * d[2]) ** 1.5
            for axis in range(3):
                v[axis] -= d[axis] * other * pull
                w[axis] += d[axis] * mass * pull
        for position, velocity, _ in bodies:
            for axis in range(3):
                position[axis] += 0.01 * velocity[axis]
    return sum(position[0] for position, _, _ in bodies) + n
