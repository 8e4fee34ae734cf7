"""The packages that are linked into the guest, and how they are found."""

import _imp
import sys
from importlib.machinery import BuiltinImporter, ModuleSpec

# What is there besides the standard library.
ADDED = ["cloudpickle", "dill", "tzdata", "numpy", "pandas", "pillow", "lxml", "python-dateutil", "PyYAML", "MarkupSafe", "msgpack", "regex"]

# The further images, in their order: what is imported in each besides that of those before it. The last is that of all apart.
IMPORTED = {
    "numpy": ["numpy", "numpy.linalg", "numpy.fft", "numpy.random", "numpy.ma", "numpy.polynomial"],
    "pandas": [
        "pandas", "PIL.Image", "PIL.ImageDraw", "PIL.ImageFilter", "PIL.ImageFont", "PIL.ImageOps", "PIL.JpegImagePlugin",
        "PIL.PngImagePlugin", "lxml.etree", "lxml.html",
    ],
}

# Those whose compiled code is only there in calls that start from their image.
APART = ["pandas", "PIL", "lxml"]


class Finder:
    """Finds extension modules within packages, such as `numpy.fft._pocketfft_umath`.

    CPython's own finder looks for builtin modules at the top level only; its table may name others.
    """

    @staticmethod
    def find_spec(name, path=None, target=None):
        if path is not None and _imp.is_builtin(name):
            return ModuleSpec(name, BuiltinImporter, origin="built-in")
        return None


# In front of the finder of files.
sys.meta_path.insert(2, Finder)
