"""Writes a file to the working directory and reads it back.

args: (("one\ntwo\n",), {})
native: value (['one', 'two'], ['own.txt'])
sandbox: same
reported: https://github.com/singlestore-labs/python-wasi/issues/10: opening a file raised "Capabilities insufficient"
"""


def read_own_file(text):
    import os
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        before = os.getcwd()
        os.chdir(folder)
        try:
            with open("own.txt", "w") as file:
                file.write(text)
            return open("own.txt").read().splitlines(), os.listdir()
        finally:
            os.chdir(before)
