"""Writes the bill of materials of a release: `scripts/sbom.sh` calls it.

usage: sbom.py OUTPUT SOURCES CRATES.json...

SOURCES is the tree that the files with crates were written for; its path is left out of what they say.
"""

import base64
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot5
from packageurl import PackageURL

ROOT = Path(__file__).resolve().parent.parent
# What the guest is linked with from this machine.
LIBRARIES = ("wasi-libc", "libclang-rt-14-dev-wasm32")


def hashes(*digests: str) -> list[HashType]:
    return [HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in digests]


def python_packages(path: Path):
    """The packages of a list with hashes."""
    text = path.read_text().replace("\\\n", " ")
    for name, version, rest in re.findall(r"^([\w.-]+)==([^\s;]+)(.*)$", text, re.MULTILINE):
        digests = re.findall(r"--hash=sha256:(\w+)", rest)
        purl = PackageURL("pypi", None, name.lower(), version)
        yield Component(name=name, version=version, purl=purl, bom_ref=str(purl), hashes=hashes(*digests))


def pages():
    """The libraries of the dashboard, which stand in the gateway's program."""
    lock = json.loads((ROOT / "gateway/assets/uplot/package-lock.json").read_text())
    for path, row in lock["packages"].items():
        if path:
            name = path.removeprefix("node_modules/")
            purl = PackageURL("npm", None, name, row["version"])
            digest = base64.b64decode(row["integrity"].removeprefix("sha512-")).hex()
            digests = [HashType(alg=HashAlgorithm.SHA_512, content=digest)]
            yield Component(name=name, version=row["version"], purl=purl, bom_ref=str(purl), hashes=digests)


def source(name: str, tarball: str, digest: str) -> Component:
    """A source that the guests are built from."""
    version = re.search(r"[_-](\d[\w.]*?)\.(?:orig\.)?tar", tarball)[1].removesuffix(".dfsg")
    purl = PackageURL("generic", None, name, version, {"checksum": f"sha256:{digest}"})
    return Component(name=name, version=version, purl=purl, bom_ref=str(purl), hashes=hashes(digest))


def guest_parts():
    """What the sandbox's guests are built from."""
    for row in tomllib.loads((ROOT / "pythons.toml").read_text()).values():
        if isinstance(row, dict) and "guest" in row:
            yield source("cpython", row["source_tarball"], row["source_sha256"])
    zlib = dict(re.findall(r"^ZLIB_(\w+)=(\S+)$", (ROOT / "sandbox/guest/minors.sh").read_text(), re.MULTILINE))
    yield source("zlib", zlib["TARBALL"], zlib["SHA256"])
    table = ROOT / "sandbox/guest/packages/packages.toml"
    for name, row in tomllib.loads(table.read_text()).items() if table.exists() else ():
        yield source(name, row["tarball"], row["sha256"])
    for name in LIBRARIES:
        asked = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], capture_output=True, text=True)
        if asked.returncode == 0:
            purl = PackageURL("deb", "debian", name, asked.stdout)
            yield Component(name=name, version=asked.stdout, purl=purl, bom_ref=str(purl))


def main(output: str, sources: str, *crates: str) -> None:
    bom = Bom()
    refs = {}
    programs = []
    for path in crates:
        text = Path(path).read_text().replace(f"file://{sources}/", "file:///").replace(f"file://{sources}", "file:///")
        part = Bom.from_json(json.loads(text))
        programs.append(part.metadata.component)
        for component in [part.metadata.component, *part.components]:
            refs.setdefault(component.bom_ref.value, component)
        bom.dependencies.update(part.dependencies)
    others = [*python_packages(ROOT / "requirements/pythons.txt")]
    others += python_packages(ROOT / "sandbox/guest/requirements.txt")
    others += guest_parts()
    others += pages()
    for component in others:
        refs.setdefault(component.bom_ref.value, component)
    bom.components = refs.values()
    version = programs[0].version
    release = Component(type=ComponentType.APPLICATION, name="belljar", version=version, bom_ref="release")
    bom.metadata.component = release
    bom.register_dependency(release, [*programs, *others])
    Path(output).write_text(JsonV1Dot5(bom).output_as_string(indent=1) + "\n")
    print(f"sbom: {len(bom.components)} components")


main(*sys.argv[1:])
