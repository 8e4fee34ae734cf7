"""The wheels: the Python package alone, for every platform, and the same with the programs and the guests."""

import base64
import hashlib
import os
import sys
import time
import zipfile
from pathlib import Path

from common import ROOT, Failed, glibc, run


def client(out: Path, epoch: int) -> Path:
    """Wheel and source distribution of the Python package alone; the path of the wheel."""
    env = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch)}
    run(sys.executable, "-m", "hatchling", "build", "-d", out.resolve(), cwd=ROOT / "client", env=env)
    return next(out.glob("*.whl"))


def platform(pure: Path, programs: list[Path], archive: Path, epoch: int, out: Path) -> Path:
    """The wheel with everything. pip puts `scripts` into `bin` and `data` below the prefix."""
    name, version = pure.name.split("-")[:2]
    major, minor = glibc(programs)
    tag = f"py3-none-manylinux_{major}_{minor}_x86_64"
    info, data = f"{name}-{version}.dist-info", f"{name}-{version}.data"
    members = {}
    with zipfile.ZipFile(pure) as zipped:
        for member in zipped.namelist():
            members[member] = (zipped.read(member), 0o644)
    wheel = members[f"{info}/WHEEL"][0].decode()
    if "Root-Is-Purelib: true\nTag: py3-none-any\n" not in wheel:
        raise Failed(f"`{pure.name}` is no wheel of Python alone:\n{wheel}")
    wheel = wheel.replace("Root-Is-Purelib: true\nTag: py3-none-any\n", f"Root-Is-Purelib: false\nTag: {tag}\n")
    members[f"{info}/WHEEL"] = (wheel.encode(), 0o644)
    for program in programs:
        members[f"{data}/scripts/{program.name}"] = (program.read_bytes(), 0o755)
    members[f"{data}/data/share/belljar/guests/{archive.name}"] = (archive.read_bytes(), 0o644)
    members.pop(f"{info}/RECORD")
    made = out / f"{name}-{version}-{tag}.whl"
    date = time.gmtime(max(epoch, 315532800))[:6]  # a zip knows no time before 1980
    with zipfile.ZipFile(made, "w") as zipped:
        record = "".join(listed(member, *members[member][:1]) for member in sorted(members))
        members[f"{info}/RECORD"] = (f"{record}{info}/RECORD,,\n".encode(), 0o644)
        # By convention what describes a wheel comes last.
        for member in sorted(members, key=lambda member: (member.startswith(info), member)):
            content, mode = members[member]
            entry = zipfile.ZipInfo(member, date)
            entry.external_attr = (0o100000 | mode) << 16
            entry.create_system = 3
            is_packed = member.endswith(".gz")
            entry.compress_type = zipfile.ZIP_STORED if is_packed else zipfile.ZIP_DEFLATED
            zipped.writestr(entry, content, compresslevel=9)
    return made


def listed(member: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{member},sha256={digest},{len(content)}\n"
