"""Files that go into calls and come out of them."""

import asyncio
import contextlib
import tempfile
import time
import unittest
from pathlib import Path

import belljar

from . import support


def statistics_of(name):
    import csv
    import pathlib

    with open(name, newline="") as file:
        numbers = [float(row["n"]) for row in csv.DictReader(file)]
    pathlib.Path("out/deep").mkdir(parents=True)
    pathlib.Path("out/deep/sum.txt").write_text(str(sum(numbers)))
    pathlib.Path("mean.bin").write_bytes(bytes([int(sum(numbers) / len(numbers)), 0, 255]))
    pathlib.Path("not wanted").touch()
    return len(numbers)


def listed():
    import os

    return sorted(os.listdir())


def leaves_then_fails():
    open("log.txt", "w").write("so far")
    raise ValueError("no further")


def leaves(count, size):
    for n in range(count):
        open(f"{n}.dat", "wb").write(b"x" * size)


def leaves_links():
    import os

    os.symlink("/etc/hostname", "link.txt")
    os.symlink("/etc", "etc")
    open("real.txt", "w").close()


def place():
    import os

    return os.getcwd()


def sleeps_with_files():
    import time

    open("here.txt", "w").close()
    time.sleep(60)


support.as_of_a_script(globals())


class Files(unittest.TestCase):
    runtime = "native"

    @classmethod
    def setUpClass(cls):
        cls.executor = belljar.Executor(support.shared(), runtime=cls.runtime)

    @classmethod
    def tearDownClass(cls):
        cls.executor.shutdown()

    def test_files_go_in_and_come_out(self):
        on = self.executor.options(files={"in/data.csv": "n\n1\n2\n6\n"}, outputs=["*.bin", "out/**/*.txt"])
        future = on.submit(statistics_of, "in/data.csv")
        self.assertEqual(future.result(60), 3)
        self.assertEqual(future.files(), {"mean.bin": b"\x03\x00\xff", "out/deep/sum.txt": b"9.0"})
        self.assertEqual([(file.name, file.bytes) for file in future.record().files], [("mean.bin", 3), ("out/deep/sum.txt", 3)])

    def test_each_call_has_a_directory_of_its_own(self):
        on = self.executor.options(files={"a": b"\x00", "b/c": b""})
        for _ in range(2):
            self.assertEqual(on.submit(listed).result(60), ["a", "b"])
        self.assertEqual(self.executor.options(outputs="*").submit(listed).result(60), [])
        many = [on.submit(listed) for _ in range(50)]
        self.assertEqual([future.result(60) for future in many], [["a", "b"]] * 50)

    def test_a_file_here_is_read_when_a_path_names_it(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "data.bin")
            path.write_bytes(bytes(range(256)))
            on = self.executor.options(files={"copy.bin": path}, outputs="*.bin")
        future = on.submit(listed)
        self.assertEqual(future.files(), {"copy.bin": bytes(range(256))})

    def test_a_call_that_fails_leaves_what_it_wrote(self):
        future = self.executor.options(outputs="*.txt").submit(leaves_then_fails)
        with self.assertRaises(ValueError):
            future.result(60)
        self.assertEqual(future.files(), {"log.txt": b"so far"})

    def test_a_large_file_comes_whole(self):
        future = self.executor.options(outputs="*.dat").submit(leaves, 2, 3_000_000)
        self.assertIsNone(future.result(60))
        self.assertEqual(future.files(), {"0.dat": b"x" * 3_000_000, "1.dat": b"x" * 3_000_000})

    def test_too_many_are_a_failure_that_says_so(self):
        with self.assertRaisesRegex(RuntimeError, "more than 100 files that fit `outputs`"):
            self.executor.options(outputs="*").submit(leaves, 101, 1).result(60)

    def test_names_that_lead_elsewhere_are_refused(self):
        for name in ("../up", "/etc/passwd", "a/../../b", "", "a//b", "x\0y"):
            with self.assertRaisesRegex(belljar.ServiceError, "is no path within the working directory"):
                self.executor.options(files={name: b""}).submit(listed).result(60)
        with self.assertRaisesRegex(belljar.ServiceError, "is no pattern"):
            self.executor.options(outputs="[").submit(listed).result(60)
        with self.assertRaisesRegex(TypeError, "the content of the file `a` is a int"):
            self.executor.options(files={"a": 3})

    def test_with_await(self):
        async def ask():
            async with belljar.AsyncExecutor(support.shared(), runtime=self.runtime) as executor:
                future = executor.options(files={"in.csv": "n\n4\n"}, outputs="mean.bin").submit(statistics_of, "in.csv")
                return await future, await future.files()

        self.assertEqual(asyncio.run(ask()), (1, {"mean.bin": b"\x04\x00\xff"}))


class NativeFiles(Files):
    def test_too_large_ones_are_a_failure_that_says_so(self):
        with self.assertRaisesRegex(RuntimeError, "bytes or more, and the limit is 60 MiB"):
            big = self.executor.options(outputs="*").submit(leaves, 7, 10 << 20)
            big.result(60)
        self.assertEqual(big.files(), {})

    def test_links_are_not_followed(self):
        future = self.executor.options(outputs="**").submit(leaves_links)
        self.assertEqual(future.files(), {"real.txt": b""})

    def test_the_directory_is_gone_afterwards(self):
        folder = Path(self.executor.options(outputs="*").submit(place).result(60))
        self.until_gone(folder.exists)
        self.assertEqual(self.executor.submit(place).result(60), self.executor.submit(place).result(60))
        folders = set(Path(tempfile.gettempdir()).glob("belljar-call-*/here.txt"))
        with contextlib.suppress(TimeoutError):
            self.executor.options(timeout=0.5, outputs="*").submit(sleeps_with_files).result(60)
        self.until_gone(lambda: not set(Path(tempfile.gettempdir()).glob("belljar-call-*/here.txt")) <= folders)

    def until_gone(self, is_there):
        late = time.monotonic() + 30
        while is_there():
            self.assertLess(time.monotonic(), late, "the folder of a call that has ended is still there")


@support.needs_sandbox
class SandboxFiles(Files):
    """The same in the sandbox."""

    runtime = "sandbox"

    def test_there_is_as_much_room_as_tmp_has(self):
        with self.assertRaisesRegex(RuntimeError, "there is no room left in the call's `/tmp`; ask for a larger `scratch_mb`"):
            self.executor.options(files={"large": bytes(17 << 20)}).submit(listed).result(60)


del Files
