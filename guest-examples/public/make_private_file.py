"""Makes a file for the user alone and says whose it is.

args: (("secret",), {})
native: value (True, 'secret')
sandbox: same
reported: https://github.com/python/cpython/pull/93218: there is no `os.umask`, no `pwd` and no `/dev/null`
"""


def make_private_file(text):
    import os
    import pathlib
    import pwd
    import tempfile

    before = os.umask(0o077)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "note")
            path.write_text(text)
            owner = pwd.getpwuid(path.stat().st_uid).pw_name == pwd.getpwuid(os.getuid()).pw_name
            with open(os.devnull, "w") as nothing:
                nothing.write(path.read_text())
            return owner, path.read_text()
    finally:
        os.umask(before)
