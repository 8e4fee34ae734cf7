"""Reads names and passwords from the file `.netrc` of the home folder, which has to be the user's own.

args: (("example.com",), {})
native: value ('ann', '', 'secret')
sandbox: same
reported: https://github.com/python/cpython/issues/135815: `netrc.netrc()` failed, since there is no `os.getuid`
"""


def read_netrc(host):
    import netrc
    import os
    import pathlib
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, ".netrc")
        path.write_text(f"machine {host} login ann password secret\n")
        path.chmod(0o600)
        before = os.environ.get("HOME")
        os.environ["HOME"] = folder
        try:
            return netrc.netrc().authenticators(host)
        finally:
            if before is None:
                del os.environ["HOME"]
            else:
                os.environ["HOME"] = before
