"""Attributes of classes and instances, methods, properties."""


def attributes(n):
    class Point:
        scale = 2

        def __init__(self, x, y):
            self.x, self.y = x, y

        @property
        def norm(self):
            return self.x * self.x + self.y * self.y

        def moved(self, by):
            return Point(self.x + by * self.scale, self.y - by)

    point = Point(n, 0)
    for i in range(50_000):
        point = point.moved(i & 1)
    return point.norm
