"""The guests of the sandbox as they are packed: for every processor, and without what only their build needs."""

import gzip
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from common import Failed, fresh, run

# Code for the processor that built it, and what code is compiled from.
LEFT_OUT = ("guest.wasm", "guest.cwasm", "guest-epoch.cwasm", "guest-v3.cwasm")


def modules(guest: Path) -> list[Path]:
    """The folders of a guest that hold compiled code: itself, and one for each package whose code is apart."""
    return [guest, *sorted(path.parent for path in guest.glob("*/guest.wasm"))]


def compiled(guest: Path, snapshot: Path, cache: Path) -> list[Path]:
    """The code of a folder of a guest for each level of x86-64: it takes half a minute, so it is kept by what it comes from."""
    digest = hashlib.sha256((guest / "guest.wasm").read_bytes() + snapshot.read_bytes()).hexdigest()[:16]
    kept = cache / digest
    if not kept.is_dir():
        print(f"dist: compiling the guest {guest.name} for other processors", flush=True)
        unfinished = fresh(cache / f"{digest}.new")
        run(snapshot, "--levels", guest / "guest.wasm", unfinished)
        unfinished.rename(kept)
    return sorted(kept.iterdir())


def stage(guests: Path, snapshot: Path, cache: Path, out: Path) -> Path:
    """Every guest of `guests`, as `out/X.Y`. Directories keep their times: the interpreter in the image has read
    them, and reads them again in each call where they differ."""
    found = sorted(path for path in guests.iterdir() if re.fullmatch(r"3\.\d+", path.name) and path.is_dir())
    if not found:
        raise Failed(f"`{guests}` holds no guest: `make guest` builds one")
    for guest in found:
        target = out / guest.name
        coded = modules(guest.resolve())
        shutil.copytree(guest.resolve(), target, ignore=lambda folder, names, coded=coded: [
            name for name in names if name in LEFT_OUT and Path(folder) in coded])
        for module in coded:
            for code in compiled(module, snapshot, cache):
                # That of a package apart is the largest part of all: once, for every processor, has to do.
                if module == guest.resolve() or code.name == "guest.cwasm":
                    shutil.copy(code, target / module.relative_to(guest.resolve()))
        for folder, _, files in os.walk(target):
            os.chmod(folder, 0o755)
            for name in files:
                os.chmod(os.path.join(folder, name), 0o644)
    return out


def archive(staged: Path, epoch: int, out: Path) -> Path:
    """The guests as `out/guests-HASH.tar.gz`."""
    # Files get the one time; directories keep theirs, to the nanosecond.
    for path in staged.rglob("*"):
        if not path.is_dir():
            os.utime(path, (epoch, epoch), follow_symlinks=False)
    for folder in (staged, *(code.parent for code in staged.rglob("guest.cwasm"))):
        os.utime(folder, (epoch, epoch))
    tar = ["tar", "-C", staged, "--sort=name", "--format=posix", "--pax-option=delete=atime,delete=ctime"]
    tar += ["--pax-option=exthdr.name=%d/PaxHeaders/%f", "--owner=0", "--group=0", "--numeric-owner", "-cf", "-"]
    names = sorted(path.name for path in staged.iterdir())
    made = out / "guests.tar.gz"
    with open(made, "wb") as file:
        packing = subprocess.Popen([str(word) for word in tar] + names, stdout=subprocess.PIPE)
        with gzip.GzipFile("", "wb", 9, file, mtime=0) as zipped:
            shutil.copyfileobj(packing.stdout, zipped, 1 << 20)
        if packing.wait():
            raise Failed("tar failed")
    digest = hashlib.sha256(made.read_bytes()).hexdigest()[:16]
    return made.rename(out / f"guests-{digest}.tar.gz")
