"""What the sandbox has not ends in an error of the type that libraries expect, with the way out."""

import unittest

import belljar

from . import support


def thread():
    import threading

    threading.Thread(target=print).start()


def thread_pool():
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(abs, [1]))


def process():
    import subprocess

    return subprocess.run(["ls"])


def system():
    import os

    return os.system("ls")


def fork():
    import os

    return os.fork()


def kill():
    import os

    os.kill(os.getpid(), 9)


def opened_socket():
    import socket

    socket.socket()


def connection():
    import socket

    socket.create_connection(("127.0.0.1", 80), 1)


def name_of_host():
    import socket

    socket.gethostbyname("localhost")


def url():
    import urllib.request

    urllib.request.urlopen("http://127.0.0.1/")


def url_caught():
    import urllib.request

    try:
        urllib.request.urlopen("http://127.0.0.1/")
    except OSError as error:
        raise ValueError("cannot fetch") from error


def server():
    import http.server

    http.server.HTTPServer(("", 0), http.server.BaseHTTPRequestHandler)


def server_of_loop():
    import asyncio

    async def serve():
        return (await asyncio.start_server(print, "127.0.0.1", 0)).sockets

    return asyncio.run(serve())


def read_file():
    return open("/etc/passwd").read()


def write_file():
    open("/result.txt", "w")


def fill_temporary_files():
    with open("result.txt", "wb") as file:
        file.write(bytes(9 << 20))


def folder():
    import os

    return os.listdir("/")


def alarm():
    import signal

    signal.signal(signal.SIGALRM, print)
    signal.alarm(1)


def timer():
    import signal

    signal.setitimer(signal.ITIMER_REAL, 1)


def zone_of_the_machine():
    import os
    import time

    os.environ["TZ"] = "Europe/Berlin"
    time.tzset()


def load():
    import os

    return os.getloadavg()


def login():
    import os

    return os.getlogin()


def disk():
    import shutil

    return shutil.disk_usage("/tmp")


def signal_of_loop():
    import asyncio
    import signal

    async def wait():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, print)

    asyncio.run(wait())


def compiled_code():
    from importlib.machinery import ExtensionFileLoader
    from importlib.util import module_from_spec, spec_from_file_location

    module_from_spec(spec_from_file_location("fast", "/tmp/fast.so", loader=ExtensionFileLoader("fast", "/tmp/fast.so")))


def source():
    import inspect

    return inspect.getsource(thread)


def missing_standard_module():
    __import__("tkinter")


def missing_package():
    __import__("surely_no_such_package")


def temporary_files():
    import os
    import tempfile

    with tempfile.TemporaryFile("w+") as file, open("result.txt", "w") as result:
        file.write("text")
        file.seek(0)
        result.write(file.read())
    return open("/tmp/result.txt").read(), os.listdir(), os.getcwd()


def paths():
    import os
    from pathlib import Path

    return Path("/x").exists(), Path("/x").is_file(), Path("/nope/a").is_dir(), os.path.exists("/x")


def rare_values():
    import os
    import queue

    try:
        queue.Queue().get(timeout=0.01)
    except queue.Empty as empty:
        return os.terminal_size((80, 24)), empty


support.as_of_a_script(globals())
CASES = [
    (thread, RuntimeError, "one thread"),
    (thread_pool, RuntimeError, "one thread"),
    (process, OSError, "one process"),
    (system, OSError, "one process"),
    (fork, OSError, "one process"),
    (kill, OSError, "one process"),
    (opened_socket, OSError, "no network"),
    (connection, OSError, "no network"),
    (name_of_host, OSError, "no network"),
    (url, OSError, "no network"),
    (url_caught, ValueError, "no network"),
    (server, OSError, "no network"),
    (server_of_loop, OSError, "no network"),
    (read_file, PermissionError, r'read=\["/FOLDER"\]'),
    (write_file, PermissionError, r'read=\["/FOLDER"\]'),
    (fill_temporary_files, OSError, r"scratch_mb=64"),
    (folder, PermissionError, r'read=\["/FOLDER"\]'),
    (alarm, OSError, "timeout="),
    (timer, OSError, "timeout="),
    (zone_of_the_machine, OSError, "UTC"),
    (load, OSError, "nothing of the machine"),
    (login, OSError, "nothing of the machine"),
    (disk, OSError, "nothing of the machine"),
    (signal_of_loop, NotImplementedError, "no signals"),
    (compiled_code, ImportError, "requirements="),
    (source, OSError, "source text"),
    (missing_standard_module, ImportError, "but not of the sandbox's"),
    (missing_package, ImportError, "requirements=.*--python-path"),
]


@support.needs_sandbox
class Limits(unittest.TestCase):
    def setUp(self):
        self.executor = belljar.Executor(support.shared(), runtime="sandbox")
        self.addCleanup(self.executor.shutdown)

    def test_each_is_an_error_with_the_way_out(self):
        futures = [(self.executor.submit(function), *expected) for function, *expected in CASES]
        for future, cls, way in futures:
            error = future.exception(60)
            with self.subTest(repr(error)):
                self.assertIsInstance(error, cls)
                hint = future.record().failure.hint
                self.assertRegex(hint or "", way)
                notes = [note for note in belljar._errors.notes(error) if note.startswith("hint: ")]
                self.assertEqual(notes, [f"hint: {hint}"])
                self.assertNotIn("hint: ", future.record().failure.traceback)

    def test_temporary_files_can_be_written(self):
        self.assertEqual(self.executor.submit(temporary_files).result(60), ("text", ["result.txt"], "/tmp"))

    def test_what_is_not_there_is_not_there(self):
        self.assertEqual(self.executor.submit(paths).result(60), (False, False, False, False))

    def test_rare_values_of_the_library_come_back(self):
        size, empty = self.executor.submit(rare_values).result(60)
        self.assertEqual((size.columns, type(empty).__name__), (80, "Empty"))


class Hints(unittest.TestCase):
    def test_a_native_worker_without_a_module_says_so(self):
        with belljar.Executor(support.shared(), runtime="native") as executor:
            future = executor.submit(missing_package)
            self.assertIsInstance(future.exception(60), ImportError)
            self.assertIn("this worker has no module", future.record().failure.hint)

    def test_a_name_that_only_a_text_has(self):
        with belljar.Executor(support.shared(), runtime="native") as executor:
            future = executor.submit(eval, "nowhere + 1")
            self.assertIsInstance(future.exception(60), NameError)
            self.assertIn("only a text names `nowhere`", future.record().failure.hint)
