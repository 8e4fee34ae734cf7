"""Draws a plot by matplotlib. The interpreters of the tests have not got it; `draw_chart` does without.

args: (([3, 1, 2],), {})
native: unsafe
sandbox: refused matplotlib
reported: https://github.com/langchain-ai/langchain-sandbox/issues/55: `import matplotlib.pyplot` could not be installed
"""


def plot_line(values):
    import io

    import matplotlib.pyplot as plt

    plt.plot(values)
    picture = io.BytesIO()
    plt.savefig(picture, format="png")
    return picture.getvalue()[:4]
