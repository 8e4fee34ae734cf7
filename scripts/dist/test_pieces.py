"""What packages are made of, checked in seconds: with programs and guests that stand for the real ones."""

import base64
import csv
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEPLOY = HERE.parents[1] / "deploy"
# `belljar-snapshot --levels WASM DIR`
SNAPSHOT = """#!/bin/sh
cp "$2" "$3/guest.cwasm"
cp "$2" "$3/guest-v3.cwasm"
"""
# The highest exposure of a unit, in tenths, by systemd's own count.
EXPOSURE = 30


class Wheel(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.programs = self.folder / "programs"
        self.programs.mkdir()
        for name in ("belljar", "belljar-python", "belljar-sandbox", "belljar-python3.13", "belljar-bench"):
            shutil.copy("/bin/true", self.programs / name)
        # As the build leaves them: a link to a folder.
        guest = self.folder / "guests/3.11-0123"
        for name in ("lib/os.py", "site/dill/__init__.py", "guest.json", "memory.img", "guest.wasm", "guest.cwasm", "pandas/guest.wasm"):
            (guest / name).parent.mkdir(parents=True, exist_ok=True)
            (guest / name).write_text(name)
        (guest / "lib/os.py").chmod(0o664)
        (self.folder / "guests/3.11").symlink_to("3.11-0123")
        (self.folder / "guests/work").mkdir()
        self.snapshot = self.folder / "snapshot"
        self.snapshot.write_text(SNAPSHOT)
        self.snapshot.chmod(0o755)

    def build(self, out: str) -> "list[Path]":
        command = [sys.executable, HERE / "build.py", self.programs, self.snapshot, self.folder / out, "--only", "wheel"]
        command += ["--guests", self.folder / "guests"]
        env = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
        subprocess.run([str(word) for word in command], check=True, capture_output=True, env=env)
        return sorted(path for path in (self.folder / out).rglob("*") if path.is_file())

    def test_the_same_inputs_give_the_same_bytes(self) -> None:
        first, second = self.build("first"), self.build("second")
        self.assertEqual([path.name for path in first], [path.name for path in second])
        self.assertEqual(len(first), 3)
        for one, other in zip(first, second):
            self.assertEqual(one.read_bytes(), other.read_bytes(), one.name)

    def test_a_wheel_holds_programs_and_guests_and_lists_them(self) -> None:
        wheel = next(path for path in self.build("out") if "manylinux" in path.name)
        self.assertRegex(wheel.name, r"^belljar-[\d.]+-py3-none-manylinux_2_\d+_x86_64\.whl$")
        with zipfile.ZipFile(wheel) as zipped:
            names = zipped.namelist()
            info = next(name for name in names if name.endswith("/RECORD")).removesuffix("RECORD")
            data = info.replace(".dist-info/", ".data/")
            programs = [name.removeprefix(data + "scripts/") for name in names if "/scripts/" in name]
            self.assertEqual(programs, ["belljar", "belljar-python", "belljar-python3.13", "belljar-sandbox"])
            self.assertTrue(all(zipped.getinfo(f"{data}scripts/{name}").external_attr >> 16 & 0o111 for name in programs))
            for row in csv.reader(zipped.read(info + "RECORD").decode().splitlines()):
                if row[1]:
                    digest = base64.urlsafe_b64encode(hashlib.sha256(zipped.read(row[0])).digest()).decode()
                    self.assertEqual(row[1], "sha256=" + digest.rstrip("="), row[0])
            listed = {row[0] for row in csv.reader(zipped.read(info + "RECORD").decode().splitlines())}
            self.assertEqual(listed, set(names))
            self.assertIn("belljar/py.typed", names)
            # pip would compile them, and not as the guest needs it.
            self.assertFalse([name for name in names if name.endswith(".py") and "/share/" in name])
            self.assertIn("Root-Is-Purelib: false", zipped.read(info + "WHEEL").decode())
            archive = next(name for name in names if "/share/belljar/guests/guests-" in name)
            zipped.extract(archive, self.folder)
        listing = subprocess.run(["tar", "-tvzf", self.folder / archive], check=True, capture_output=True, text=True).stdout
        files = {line.split()[-1]: line.split()[0] for line in listing.splitlines() if not line.startswith("d")}
        expected = {"guest-v3.cwasm", "guest.cwasm", "guest.json", "lib/os.py", "memory.img", "site/dill/__init__.py"}
        expected.add("pandas/guest.cwasm")
        self.assertEqual(set(files), {f"3.11/{name}" for name in expected})
        # Others could put other code in place of what their group may write: the sandbox refuses it.
        self.assertEqual(set(files.values()), {"-rw-r--r--"})

    def test_a_missing_program_is_named_with_the_way_to_it(self) -> None:
        (self.programs / "belljar-sandbox").unlink()
        with self.assertRaises(subprocess.CalledProcessError) as failed:
            self.build("out")
        self.assertIn(b"holds no belljar-sandbox: `make build` builds them", failed.exception.stderr)


@unittest.skipUnless(shutil.which("systemd-analyze"), "systemd is not installed")
class Units(unittest.TestCase):
    def test_they_are_right_and_hardened(self) -> None:
        units = sorted((DEPLOY / "systemd").glob("*.service"))
        self.assertEqual(len(units), 3)
        with tempfile.TemporaryDirectory() as folder:
            for unit in units:
                # That of this machine may not be installed.
                copy = Path(folder) / unit.name.replace("@.", "@1.")
                copy.write_text(unit.read_text().replace("ExecStart=/usr/bin/belljar", "ExecStart=/bin/true"))
                verified = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True)
                self.assertEqual((verified.returncode, verified.stderr), (0, ""), unit.name)
                security = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", copy]
                counted = subprocess.run(security, capture_output=True, text=True)
                self.assertEqual(counted.returncode, 0, counted.stdout[-300:])

    def test_each_runs_as_a_user_of_its_own_without_capabilities(self) -> None:
        for unit in (DEPLOY / "systemd").glob("*.service"):
            for line in ("User=belljar", "CapabilityBoundingSet=", "NoNewPrivileges=yes", "ProtectSystem=strict"):
                self.assertIn(line, unit.read_text().splitlines(), unit.name)


if __name__ == "__main__":
    unittest.main()
