"""Moves the sun and two planets for some steps: floating point comes out alike in both runtimes.

args: ((200,), {})
native: value [[0.003157317, 0.000596517], [2.973287698, 3.996710358], [5.56096405, 7.238330605]]
sandbox: same
"""


def n_body(steps, dt=0.01):
    from math import sqrt

    # Position, velocity, mass.
    bodies = [
        ([0.0, 0.0], [0.0, 0.0], 39.478),
        ([4.84, -1.16], [0.606, 2.811], 0.0377),
        ([8.34, 4.12], [-1.01, 1.825], 0.0113),
    ]
    for _ in range(steps):
        for i, (here, speed, mass) in enumerate(bodies):
            for there, other_speed, other_mass in bodies[i + 1 :]:
                dx, dy = here[0] - there[0], here[1] - there[1]
                squared = dx * dx + dy * dy
                pull = dt / (squared * sqrt(squared))
                speed[0] -= dx * other_mass * pull
                speed[1] -= dy * other_mass * pull
                other_speed[0] += dx * mass * pull
                other_speed[1] += dy * mass * pull
        for place, speed, _ in bodies:
            place[0] += dt * speed[0]
            place[1] += dt * speed[1]
    return [[round(x, 9) for x in place] for place, _, _ in bodies]
