"""Installs wheels into a folder, by uv or pip, each only if it has the hash that it was chosen with. None of their code runs.

Reads a request as JSON from standard input: the `index`, the `python` that runs the function (`3.11`), the `wheels` (pairs of
`NAME==VERSION` and a SHA-256) and the `target` folder. Writes `{"error": TEXT}`, or `{}`.
"""

import compileall
import contextlib
import io
import json
import os
import py_compile
import re
import shutil
import subprocess
import sys
import urllib.parse
from pathlib import Path

os.environ["COLUMNS"] = "100000"

# Those of the machine, where it has them in one file; else pip's own.
AUTHORITIES = next(filter(os.path.exists, [os.environ.get("SSL_CERT_FILE", ""), "/etc/ssl/certs/ca-certificates.crt"]), None)
LARGEST = 1 << 30


def by_uv(uv, request, lines, target):
    command = [
        uv, "pip", "install", "--no-config", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-cache", "--quiet",
        "--python", sys.executable, "--python-version", request["python"], "--target", str(target), "-r", "-",
    ]
    # Not among the arguments, which others see: it may hold a password.
    environment = {**os.environ, "UV_DEFAULT_INDEX": request["index"], "UV_PYTHON_DOWNLOADS": "never"}
    if AUTHORITIES:
        environment["SSL_CERT_FILE"] = AUTHORITIES
    done = subprocess.run(command, input="".join(lines), env=environment, capture_output=True, text=True)
    return done.returncode, done.stderr


def by_pip(request, lines, target):
    from pip._internal.cli.main import main

    requirements = target.with_name(f"{target.name}.txt")
    requirements.write_text("".join(lines))
    index = request["index"]
    options = [
        "install", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-compile", "--isolated", "--no-input",
        "--disable-pip-version-check", "--no-cache-dir", "--progress-bar", "off", "--python-version", request["python"],
        "--target", str(target), "--index-url", index, "--requirement", str(requirements),
    ]
    if index.startswith("http://"):
        options += ["--trusted-host", urllib.parse.urlsplit(index).netloc.rpartition("@")[2]]
    elif AUTHORITIES:
        options += ["--cert", AUTHORITIES]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = main(options)
    requirements.unlink()
    return status, said.getvalue()


def finish(request, target):
    """Compiles the modules ahead for this Python, if it is the one that runs them, and makes all read-only."""
    if request["python"] == "{}.{}".format(*sys.version_info):
        with contextlib.redirect_stdout(io.StringIO()):
            # Some packages bring files of other Pythons; these are of no use here. Python 3.9 wants texts.
            compileall.compile_dir(str(target), quiet=2, stripdir=str(target), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    for folder, _, names in os.walk(target):
        for name in names:
            path = os.path.join(folder, name)
            os.chmod(path, 0o444)
        os.chmod(folder, 0o555)


def install(request):
    target = Path(request["target"])
    lines = [f"{pinned} --hash=sha256:{sha256}\n" for pinned, sha256 in request["wheels"]]
    uv = shutil.which("uv")
    status, said = by_uv(uv, request, lines, target) if uv else by_pip(request, lines, target)
    if status:
        errors = re.findall(r"^ *(?:ERROR|error|Caused by): (.+)", said, re.MULTILINE)
        return {"error": "; ".join(errors)[:1000] or said.strip()[-300:] or f"status {status}"}
    size = sum(path.lstat().st_size for path in target.rglob("*"))
    if size > LARGEST:
        return {"error": f"the packages have {size >> 20} MiB, and at most {LARGEST >> 20} are allowed"}
    finish(request, target)
    return {}


if __name__ == "__main__":
    answer = install(json.load(sys.stdin))
    print(json.dumps(answer))
