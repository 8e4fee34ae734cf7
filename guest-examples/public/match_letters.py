"""Finds words of any script, also misspelt ones, by the package regex. The interpreters of the tests have it in the sandbox only.

args: (("Zürich, Łódź and Οία; Zurch",), {})
native: unsafe
sandbox: value (['Zürich', 'Łódź', 'Οία', 'Zurch'], 'Zürich')
reported: https://github.com/dicej/wasi-wheels/pull/1: packages with native code, regex among them, had to be built by hand
"""


def match_letters(text):
    import regex

    return regex.findall(r"\p{Lu}\p{Ll}+", text), regex.search(r"(?:Zurich){e<=1}", text).group()
