"""Builds what belljar is installed from, of programs and guests that are built already: the wheels, the Debian
package, and what makes an image of it. The same inputs give the same bytes.

usage: scripts/dist/build.py PROGRAMS SNAPSHOT OUT [--guests DIR] [--only wheel|deb]

PROGRAMS is the directory of the programs, SNAPSHOT the program `belljar-snapshot`, OUT the directory to write;
it is emptied first. DIR holds the guests, `~/.cache/belljar` unless it is given.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import debian
import guests
import wheel
from common import ROOT, Failed, epoch, fresh, strip_programs, version


def main() -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "belljar"
    parser = argparse.ArgumentParser()
    parser.add_argument("programs", type=Path)
    parser.add_argument("snapshot", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--guests", type=Path, default=Path(os.environ.get("BELLJAR_GUEST_DIR") or cache))
    parser.add_argument("--only", choices=["wheel", "deb"])
    args = parser.parse_args()
    os.umask(0o022)
    time, out = epoch(), fresh(args.out)
    with tempfile.TemporaryDirectory(dir=out) as folder:
        work = Path(folder)
        programs = strip_programs(args.programs, work / "bin")
        # Where cargo builds, which keeps it as long as the rest.
        levels = args.snapshot.resolve().parent / "guest-levels"
        levels.mkdir(exist_ok=True)
        staged = guests.stage(args.guests, args.snapshot.resolve(), levels, work / "guests")
        (out / "client").mkdir()
        pure = wheel.client(out / "client", time)
        if args.only != "deb":
            archive = guests.archive(staged, time, work)
            wheel.platform(pure, programs, archive, time, out)
        if args.only != "wheel":
            debian.build(pure, programs, staged, time, version(), out, work)
            for name in ("Containerfile", "compose.yaml"):
                shutil.copy(ROOT / "deploy" / name, out)
            shutil.copytree(ROOT / "deploy/helm", out / "helm")
    for path in sorted(out.rglob("*")):
        if path.is_file():
            print(f"dist: {path}  {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    try:
        main()
    except Failed as error:
        sys.exit(f"dist: {error}")
