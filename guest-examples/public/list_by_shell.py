"""Lists a folder by a command of the shell, and by Python where there is none.

args: ((), {})
native: value ['note.txt']
sandbox: same
reported: https://github.com/sagemathinc/cowasm/issues/16: `os.popen` ended the interpreter
"""


def list_by_shell():
    import os
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        open(os.path.join(folder, "note.txt"), "w").close()
        try:
            with os.popen(f"ls {folder}") as listed:
                return listed.read().split()
        except OSError:
            return os.listdir(folder)
