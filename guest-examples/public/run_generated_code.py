"""Runs code that it gets as text, such as a model writes, which imports what it likes.

args: (("import json, textwrap\nanswer = json.dumps(textwrap.wrap('one two three', 7))",), {})
native: value '["one two", "three"]'
sandbox: same
reported: https://github.com/bytecodealliance/componentize-py/issues/91: code run by `exec` could import nothing that its host had not imported
"""


def run_generated_code(code):
    names = {}
    exec(code, names)
    return names["answer"]
