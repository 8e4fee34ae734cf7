"""Writes the reference of the package from its docstrings: `make reference`.

    python client/tools/reference.py >docs/reference/python-client.md
"""

import inspect
import re
import sys
import textwrap

import belljar

HEAD = """# The Python client: reference

Made from the docstrings by `make reference`. [The guide](../how-to/python-client.md) shows how to use it.
"""
SECTIONS = {
    "Executors": ["Executor", "AsyncExecutor", "Session", "AsyncSession"],
    "Futures and what they tell": ["Future", "AsyncFuture", "TaskEvent", "Progress", "TaskRecord", "Durations", "Failure", "Output", "FileEntry"],
    "Values": ["put", "Reference"],
    "Functions": ["progress", "function", "Function", "default_executor", "set_default_executor"],
    "Looking at a service": ["Client"],
}
# The standard library's own, given out here for convenience.
BORROWED = {"as_completed", "wait", "ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION"}


def signature(name, value):
    """How it is called, without the types, which the source has."""
    parameters = []
    for parameter in inspect.signature(value).parameters.values():
        if parameter.name != "self":
            parameters.append(parameter.replace(annotation=inspect.Parameter.empty))
    return f"{name}{inspect.Signature(parameters)}"


def text(value):
    """A docstring as Markdown: indented parts are code."""
    doc = inspect.cleandoc(value.__doc__ or "")
    return re.sub(r"(?m)(?:^    .*\n?(?:\n(?=    ))?)+", lambda code: f"```python\n{textwrap.dedent(code[0]).strip()}\n```\n", doc)


def members(cls):
    """The public methods and properties of a class's own."""
    for name, value in vars(cls).items():
        if name.startswith("_") or name in ("ended_cancelled", "set_exception"):
            continue
        if isinstance(value, property):
            yield f"#### `{name}`", text(value)
        elif inspect.isfunction(value):
            yield f"#### `{signature(name, value)}`", text(value)


def described(name):
    """One public name."""
    value = getattr(belljar, name)
    # A signature of a class whose fields it lists would only say them twice.
    title = name if name in ("Future", "AsyncFuture", "Function", "Session", "AsyncSession") or hasattr(value, "__dataclass_fields__") else signature(name, value)
    yield f"### `{title}`"
    yield text(value)
    if hasattr(value, "__dataclass_fields__"):
        yield "Fields: " + ", ".join(f"`{field}`" for field in value.__dataclass_fields__) + "."
    elif inspect.isclass(value):
        for head, body in members(value):
            if "\n\n" in body or "```" in body:
                yield head
                yield body
            else:  # A line or two: without a title of its own.
                yield f"* {head.lstrip('# ')}: {body}".replace("\n", "\n  ")


def reference():
    """The whole document."""
    named = {name for names in SECTIONS.values() for name in names}
    errors = [name for name in belljar.__all__ if name not in named | BORROWED]
    parts = [HEAD.strip()]
    for title, names in SECTIONS.items():
        parts.append(f"## {title}")
        for name in names:
            parts.extend(described(name))
    parts += ["## Errors", "```\n" + tree(belljar.BelljarError, "") + "```"]
    listed = [f"* `{name}`: " + text(getattr(belljar, name)).replace("\n\n", "\n") for name in errors]
    parts.append("\n".join(entry.replace("\n", "\n  ") for entry in listed))
    parts.append("`as_completed`, `wait` and its constants are those of `concurrent.futures`.")
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def tree(cls, indent):
    """The errors below one, each with the builtin that it also is."""
    also = [base.__name__ for base in cls.__bases__ if not issubclass(base, belljar.BelljarError)]
    line = f"{indent}{cls.__name__}" + (f" ({', '.join(also)})" if also else "")
    return f"{line}\n" + "".join(tree(sub, indent + "    ") for sub in cls.__subclasses__() if sub.__name__ in belljar.__all__)


if __name__ == "__main__":
    sys.stdout.write(reference())
