"""Fresh root file systems, to install into what was built: Debian by debootstrap, and changes over it that are thrown
away. Commands run in them without a network, in namespaces of their own, with the root as the only file system."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from common import ROOT, run

MIRROR = os.environ.get("BELLJAR_DEBIAN_MIRROR", "http://deb.debian.org/debian")
SUITE = "bookworm"
PACKAGES = "adduser,ca-certificates,libpython3.11,python3,python3-pip,python3-venv,redis-server"
USER = 1000
# In namespaces of its own, so that all of it goes when the command ends. `pivot_root`, since the kernel makes no user
# namespaces in a chroot.
ENTER = """
set -eu
ip link set lo up
mount --make-rprivate /
mount {mount} "$1"
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
{more}
cd "$1"
pivot_root . .
umount -l .
shift
exec "$@"
"""


def debian(packages: str, name: str) -> Path:
    """Debian's root with packages; made once, where cargo builds."""
    kept = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "dist-roots" / f"{SUITE}-{name}"
    if not kept.is_dir():
        print(f"dist: debootstrap of {SUITE} with {packages or 'nothing more'}", flush=True)
        unfinished = kept.with_name(f".{kept.name}")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        include = [f"--include={packages}"] if packages else []
        run("debootstrap", "--variant=minbase", *include, SUITE, unfinished, MIRROR, stderr=subprocess.DEVNULL)
        unfinished.rename(kept)
    return kept


class Root:
    """A root file system over `base`, which stays as it is."""

    def __init__(self, base: Path) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="belljar-root-")
        self.upper, self.work, self.mounted = (Path(self.folder.name) / name for name in ("upper", "work", "root"))
        for path in (self.upper, self.work, self.mounted):
            path.mkdir()
        self.mount = f"-t overlay -o lowerdir={base},upperdir={self.upper},workdir={self.work} overlay"
        self.more = ""

    def __enter__(self) -> "Root":
        return self

    def __exit__(self, *_: object) -> None:
        self.folder.cleanup()

    def put(self, path: str, content: "Path | str") -> None:
        target = self.upper / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            target.write_text(content)
        else:
            shutil.copy(content, target)

    def run(self, script: str, user: int = USER, timeout: float = 300, **variables: str) -> str:
        """The output of a shell script that must succeed; it and what it started end with it."""
        home = "/root" if user == 0 else "/tmp"
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": home, "LANG": "C.UTF-8", **variables}
        enter = ["unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "sh", "-c"]
        enter += [ENTER.format(mount=self.mount, more=self.more), "enter", str(self.mounted)]
        # No capabilities and no way to get them, as in a unit or a container; except for root, which installs.
        drop = ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"] if user else []
        enter += ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *drop]
        enter += ["env", "-i", *(f"{name}={value}" for name, value in env.items()), "sh", "-euc", script]
        ended = subprocess.run(enter, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout)
        if ended.returncode:
            raise AssertionError(f"exit code {ended.returncode}:\n{ended.stdout}")
        return ended.stdout
