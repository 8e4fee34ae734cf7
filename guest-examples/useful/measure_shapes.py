"""Has a hierarchy of classes: abstract methods, super, a property and an operator.

args: ((), {})
native: value [('Circle', 12.57), ('Square', 4.0), ('Sum', 16.57)]
sandbox: same
"""


def measure_shapes():
    import math
    from abc import ABC, abstractmethod

    class Shape(ABC):
        def __init__(self, size):
            self.size = size

        @property
        @abstractmethod
        def area(self): ...

        def __add__(self, other):
            return Sum(self, other)

    class Circle(Shape):
        @property
        def area(self):
            return math.pi * self.size**2

    class Square(Shape):
        @property
        def area(self):
            return self.size**2

    class Sum(Shape):
        def __init__(self, *parts):
            super().__init__(None)
            self.parts = parts

        @property
        def area(self):
            return sum(part.area for part in self.parts)

    circle, square = Circle(2.0), Square(2.0)
    shapes = [circle, square, circle + square]
    return [(type(shape).__name__, round(shape.area, 2)) for shape in shapes]
