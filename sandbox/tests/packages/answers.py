"""Stands before the cases of each file: what they call."""


def answers(expressions, names):
    """What each line of `expressions` gives, as text, or raises."""
    said = {}
    for text in expressions.strip().splitlines():
        try:
            said[text] = repr(eval(text, names))
        except Exception as error:
            said[text] = f"{type(error).__name__}: {error}"
    return said


