"""Runs a plug-in that nobody has read: in the sandbox it gets its arguments, and nothing else.

    python examples/untrusted_plugin.py
"""

import belljar

# As it was uploaded. It does its work, and on the side looks for what it could take away.
PLUGIN = '''
def shout(text):
    import os
    found = []
    for place in ("/etc/passwd", os.path.expanduser("~/.ssh/id_rsa")):
        try:
            found.append(open(place).read())
        except OSError:
            pass
    return text.upper(), found, dict(os.environ)
'''


def run_plugin(source, name, *args):
    """Runs there what would be foolish to run here: the plug-in's text becomes code in the sandbox."""
    names = {}
    exec(source, names)
    return names[name](*args)


def main():
    with belljar.Executor(runtime="sandbox", timeout=5, memory_mb=128) as executor:
        result, files, environment = executor.submit(run_plugin, PLUGIN, "shout", "hello").result()
    print(f"{result}; it found {len(files)} files and {len(environment)} variables")


if __name__ == "__main__":
    main()
