"""Chooses packages for what a function asks for, by pip and without running any of their code.

Reads a request as JSON from standard input: `requirements`, the `index`, the `python` that runs the function (`3.11`), and for the
sandbox `provided`, the packages that are part of it (names and versions), else null. Writes `{"wheels": [[FILE, SHA256], ...]}`, or
`{"error": TEXT, "is_wrong": WHETHER_THE_REQUIREMENTS_ARE}`.
"""

import contextlib
import io
import json
import os
import re
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

# So that no line of pip's is broken.
os.environ["COLUMNS"] = "100000"

from pip._internal.cli.main import main
from pip._vendor.packaging import markers
from pip._vendor.packaging.requirements import InvalidRequirement, Requirement
from pip._vendor.packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename

# Those of the machine, where it has them in one file; else pip's own.
AUTHORITIES = next(filter(os.path.exists, [os.environ.get("SSL_CERT_FILE", ""), "/etc/ssl/certs/ca-certificates.crt"]), None)
PURE = ["--implementation", "py", "--abi", "none", "--platform", "any"]


def is_pure(file):
    return file.endswith("-none-any.whl")


class Choice:
    """One request on its way to a choice."""

    def __init__(self, request, folder):
        self.requirements, self.index, self.python = request["requirements"], request["index"], request["python"]
        self.provided, self.folder = request["provided"], Path(folder)
        self.in_sandbox = self.provided is not None

    def set_markers(self):
        """Markers such as `python_version < "3.11"` mean the Python that runs the function, not the one that runs pip."""
        own = markers.default_environment()
        if own["python_version"] != self.python:
            full = f"{self.python}.0"
            own.update(python_version=self.python, python_full_version=full, implementation_version=full)
        if self.in_sandbox:
            own.update(sys_platform="wasi", platform_system="WASI", platform_machine="wasm32", platform_release="", platform_version="")
        markers.default_environment = lambda: dict(own)

    def stand_ins(self):
        """The options that make pip take what the sandbox has of its own as it is: empty wheels, and no other version."""
        constraints = self.folder / "constraints.txt"
        lines = []
        for name, version in self.provided.items():
            stem = f"{name.replace('-', '_')}-{version}"
            with zipfile.ZipFile(self.folder / f"{stem}-py3-none-any.whl", "w") as wheel:
                wheel.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
                wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
                wheel.writestr(f"{stem}.dist-info/RECORD", "")
            lines.append(f"{name}=={version}\n")
        constraints.write_text("".join(lines))
        return ["--find-links", str(self.folder), "--constraint", str(constraints)]

    def choose(self):
        self.set_markers()
        report = self.folder / "report.json"
        host = urllib.parse.urlsplit(self.index).netloc.rpartition("@")[2]
        options = [
            "install", "--dry-run", "--ignore-installed", "--isolated", "--no-input", "--disable-pip-version-check", "--no-cache-dir",
            "--progress-bar", "off", "--only-binary", ":all:", "--python-version", self.python, "--report", str(report),
            "--target", str(self.folder / "unused"),
            "--index-url", self.index, "--retries", "1", "--timeout", "10",
        ]
        if self.index.startswith("http://"):
            options += ["--trusted-host", host]
        elif AUTHORITIES:
            options += ["--cert", AUTHORITIES]
        if self.in_sandbox:
            options += PURE + self.stand_ins()
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = main([*options, "--", *self.requirements])
        if status:
            return self.explain(said.getvalue())
        wheels = []
        for item in json.loads(report.read_text())["install"]:
            info = item["download_info"]
            if info["url"].startswith("file:"):
                continue
            algorithm, _, digest = info["archive_info"]["hash"].partition("=")
            if algorithm != "sha256":
                return {"error": f"the package index has no SHA-256 for `{item['metadata']['name']}`", "is_wrong": False}
            wheels.append([urllib.parse.unquote(urllib.parse.urlsplit(info["url"]).path.rpartition("/")[2]), digest])
        return {"wheels": wheels}

    def explain(self, said):
        """What pip's words mean for who asked."""
        missing = re.search(r"No matching distribution found for (.+)", said)
        if missing:
            source = re.search(r"Could not find a version that satisfies the requirement .*? \(from ([^)]*)\) \(from versions", said)
            return self.explain_missing(missing[1].strip(), source and source[1])
        conflict = re.search(r"The conflict is caused by:\n((?: +.+\n)+)", said)
        if conflict:
            lines = "; ".join(line.strip() for line in conflict[1].splitlines())
            lines = lines.replace("The user requested (constraint)", "the sandbox has").replace("The user requested", "the function asks for")
            return {"error": f"the requirements contradict each other: {lines}", "is_wrong": True}
        errors = re.findall(r"^ *ERROR: (.+)", said, re.MULTILINE)
        return {"error": "; ".join(errors) or said.strip()[-300:] or "pip failed", "is_wrong": False}

    def explain_missing(self, text, source):
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            return {"error": f"`{text}` is not on the package index", "is_wrong": True}
        named = f"`{text}`" + (f", which `{source}` needs," if source else "")
        own = {canonicalize_name(name): version for name, version in (self.provided or {}).items()}.get(canonicalize_name(wanted.name))
        if own is not None:
            return {"error": f"{named} cannot be had: the sandbox has `{wanted.name}` {own} of its own", "is_wrong": True}
        try:
            files = self.files_of(wanted.name)
        except OSError as error:
            reason = getattr(error, "reason", error)
            return {"error": f"the package index does not answer: {reason}", "is_wrong": False}
        if not files:
            return {"error": f"{named} is not on the package index", "is_wrong": True}
        fitting = [file for file, version in files if wanted.specifier.contains(version, prereleases=True)]
        if not fitting:
            versions = sorted({version for _, version in files})
            shown = ", ".join(map(str, versions[-10:]))
            return {"error": f"{named} is not on the package index, which has the versions {shown}", "is_wrong": True}
        return {"error": f"{named} {self.unfit(fitting)}", "is_wrong": True}

    def unfit(self, files):
        wheels = [file for file in files if file.endswith(".whl")]
        if not wheels:
            return "has no wheel, only source, which is not built here"
        if any(map(is_pure, wheels)):
            return f"has no wheel for Python {self.python}"
        if self.in_sandbox:
            has = ", ".join(f"{name} {version}" for name, version in sorted(self.provided.items())) or "none"
            return f"has no pure Python wheel, and its compiled code cannot be loaded in the sandbox. Compiled packages that it has: {has}"
        return f"has no wheel for this machine and Python {self.python}"

    def files_of(self, project):
        """The files of a project on the index, each with its version."""
        base = urllib.parse.urlsplit(self.index)
        user, _, host = base.netloc.rpartition("@")
        url = base._replace(netloc=host).geturl().rstrip("/") + f"/{canonicalize_name(project)}/"
        request = urllib.request.Request(url, headers={"Accept": "application/vnd.pypi.simple.v1+html, text/html"})
        if user:
            import base64

            request.add_header("Authorization", "Basic " + base64.b64encode(urllib.parse.unquote(user).encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=10) as page:
                text = page.read(32 << 20).decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return []
            raise
        found = []
        for file in re.findall(r">\s*([^<>\s]+\.(?:whl|tar\.gz|zip))\s*</a>", text):
            parse = parse_wheel_filename if file.endswith(".whl") else parse_sdist_filename
            with contextlib.suppress(ValueError):
                found.append((file, parse(file)[1]))
        return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        answer = Choice(json.load(sys.stdin), folder).choose()
    print(json.dumps(answer))
