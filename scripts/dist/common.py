"""What the builders of packages share: the version, the time, the programs, and files in a fixed order."""

import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Each installation has them; an interpreter of a further Python, such as `belljar-python3.13`, may be there too.
REQUIRED = ("belljar", "belljar-python", "belljar-sandbox")
FURTHER = re.compile(r"belljar-python3\.\d+")

# Where an installed program looks for libraries, before the system's directories.
RUNPATH = b"$ORIGIN/../lib"


class Failed(Exception):
    """Nothing was built, and why."""


def run(*command: object, **options: object) -> str:
    """The output of a command that must succeed."""
    ended = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, **options)
    if ended.returncode:
        raise Failed(f"`{command[0]}` ended with {ended.returncode}")
    return ended.stdout


def version() -> str:
    text = (ROOT / "client/pyproject.toml").read_text()
    return re.search(r'^version = "(.+)"$', text, re.MULTILINE)[1]


def epoch() -> int:
    """The time of everything that is packed: SOURCE_DATE_EPOCH, else that of the commit."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given or run("git", "log", "-1", "--format=%ct", cwd=ROOT).strip())


def strip_programs(programs: Path, out: Path) -> list[Path]:
    """The programs without symbols, in `out`."""
    missing = [name for name in REQUIRED if not (programs / name).is_file()]
    if missing:
        raise Failed(f"`{programs}` holds no {' and no '.join(missing)}: `make build` builds them")
    further = sorted(path.name for path in programs.iterdir() if FURTHER.fullmatch(path.name))
    out.mkdir(parents=True)
    for name in (*REQUIRED, *further):
        run("objcopy", "--strip-all", "--remove-section=.gnu_debuglink", programs / name, out / name)
        hide_build_machine(out / name)
        (out / name).chmod(0o755)
    return [out / name for name in (*REQUIRED, *further)]


def hide_build_machine(program: Path) -> None:
    """Takes the directories of this machine's Pythons out of where a program looks for its libraries: on another one,
    somebody else may own them. What stays is the directory beside the one it is installed in."""
    found = re.search(r"\((?:RUNPATH|RPATH)\).*\[(.+)\]", run("readelf", "-dW", program))
    if not found:
        return
    old = found[1].encode()
    content = program.read_bytes()
    if len(old) < len(RUNPATH) or content.count(b"\0" + old + b"\0") != 1:
        raise Failed(f"`{program.name}` has the search path `{found[1]}`, which cannot be replaced")
    program.write_bytes(content.replace(old + b"\0", RUNPATH.ljust(len(old), b"\0") + b"\0"))


def glibc(programs: list[Path]) -> tuple[int, int]:
    """The oldest glibc that has everything the programs are linked with."""
    found = run("objdump", "-T", *programs)
    return max(tuple(map(int, pair)) for pair in re.findall(r"GLIBC_(\d+)\.(\d+)", found))


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink())


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
