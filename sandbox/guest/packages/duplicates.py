"""Refuses names that two archives define differently: duplicates.py ARCHIVE...

The linker takes the first and says nothing. Where the two are different functions, a caller of the other one runs
the wrong one, or traps. NM and AR name the programs that read archives.
"""

import functools
import os
import subprocess
import sys

# A defined function, constant or variable; a weak one may be defined twice.
STRONG = set("TDBR")


def run(*words):
    return subprocess.run(words, check=True, capture_output=True).stdout


@functools.cache
def content(archive, member):
    return run(os.environ["AR"], "p", archive, member)


# By name: the archive and the file in it.
defined = {}
wrong = []
for archive in sys.argv[1:]:
    listed = run(os.environ["NM"], "--defined-only", "--extern-only", "--print-file-name", archive)
    for line in listed.decode().splitlines():
        place, kind, name = line.rsplit(None, 2)
        member = place.split(":")[1]
        if kind not in STRONG:
            continue
        first = defined.setdefault(name, (archive, member))
        if first[0] == archive:
            continue
        # A file that is part of two archives is the same code.
        if content(*first) != content(archive, member):
            wrong.append(f"{name}: {first[1]} of {first[0]}, {member} of {archive}")
if wrong:
    sys.exit("archives define the same names differently:\n" + "\n".join(wrong[:20]))
