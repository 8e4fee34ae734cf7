"""Imports a compiled module from a file.

args: ((), {})
native: unsafe
sandbox: raises ImportError containing the sandbox cannot load compiled code
"""


def import_shared_object():
    from importlib.machinery import ExtensionFileLoader
    from importlib.util import module_from_spec, spec_from_file_location

    path = "/lib/evil.so"
    spec = spec_from_file_location("evil", path, loader=ExtensionFileLoader("evil", path))
    return module_from_spec(spec).__name__
