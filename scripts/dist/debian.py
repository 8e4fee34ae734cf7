"""The Debian package: a virtual environment below /usr/lib/belljar, with systemd's units."""

import gzip
import hashlib
import os
import shutil
import sys
from pathlib import Path

from common import ROOT, files_below, glibc, run

PREFIX = "usr/lib/belljar"
# What `dpkg` asks before it replaces, as they are edited.
CONFIGURATION = ("belljar.env", "worker.env")
# The packages are pure Python: one directory serves each minor that has an interpreter here.
MINOR = "3.11"


def build(pure: Path, programs: list[Path], guests: Path, epoch: int, version: str, out: Path, work: Path) -> Path:
    tree = work / "deb"
    prefix = tree / PREFIX
    install_programs(prefix, tree, programs)
    install_packages(prefix, pure, programs)
    shutil.move(guests, prefix / "share/belljar/guests")
    install_configuration(tree, epoch)
    control(tree, version, glibc(programs))
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
            os.utime(path, (epoch, epoch))
    made = out / f"belljar_{version}_amd64.deb"
    env = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch)}
    run("dpkg-deb", "--root-owner-group", "-Zzstd", "-z15", "--build", tree, made, env=env)
    return made


def install_programs(prefix: Path, tree: Path, programs: list[Path]) -> None:
    (prefix / "bin").mkdir(parents=True)
    for program in programs:
        shutil.copy2(program, prefix / "bin")
    # A virtual environment: `belljar run` and native functions import what is below the prefix.
    (prefix / "bin/python").symlink_to("/usr/bin/python3")
    (prefix / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/belljar").symlink_to("../lib/belljar/bin/belljar")


def install_packages(prefix: Path, pure: Path, programs: list[Path]) -> None:
    packages = prefix / f"lib/python{MINOR}/site-packages"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-compile", "--no-deps"]
    pip += ["--target", packages]
    run(*pip, "--only-binary", ":all:", "--require-hashes", "-r", ROOT / "requirements/pythons.txt")
    run(*pip, pure)
    shutil.rmtree(packages / "bin", ignore_errors=True)
    # They name the place where they were built.
    for name in ("direct_url.json", "RECORD"):
        for path in packages.glob(f"*.dist-info/{name}"):
            path.unlink()
    for program in programs:
        minor = program.name.removeprefix("belljar-python")
        if program.name.startswith("belljar-python3") and minor != MINOR:
            (prefix / f"lib/python{minor}").symlink_to(f"python{MINOR}")


def install_configuration(tree: Path, epoch: int) -> None:
    units, etc, docs = tree / "usr/lib/systemd/system", tree / "etc/belljar", tree / "usr/share/doc/belljar"
    for folder in (units, etc, docs):
        folder.mkdir(parents=True)
    for unit in sorted((ROOT / "deploy/systemd").glob("*.service")):
        shutil.copy(unit, units)
    for name in CONFIGURATION:
        shutil.copy(ROOT / "deploy/systemd" / name, etc)
    shutil.copy(ROOT / "deploy/healthcheck.py", tree / PREFIX)
    for name in ("deploy/debian/copyright", "LICENSE-MIT"):
        shutil.copy(ROOT / name, docs)
    with open(docs / "changelog.gz", "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=epoch) as zipped:
        zipped.write((ROOT / "CHANGELOG.md").read_bytes())


def control(tree: Path, version: str, libc: tuple[int, int]) -> None:
    debian = tree / "DEBIAN"
    debian.mkdir()
    sums = ""
    size = 0
    for path in files_below(tree):
        if not path.is_symlink() and debian not in path.parents:
            content = path.read_bytes()
            size += len(content) // 1024 + 1
            name = path.relative_to(tree)
            if not str(name).startswith("etc/"):
                sums += f"{hashlib.md5(content).hexdigest()}  {name}\n"
    text = (ROOT / "deploy/debian/control").read_text()
    (debian / "control").write_text(text.format(version=version, size=size, libc="{}.{}".format(*libc)))
    (debian / "md5sums").write_text(sums)
    (debian / "conffiles").write_text("".join(f"/etc/belljar/{name}\n" for name in CONFIGURATION))
    for name in ("postinst", "prerm", "postrm"):
        shutil.copy(ROOT / "deploy/debian" / name, debian)
        (debian / name).chmod(0o755)
