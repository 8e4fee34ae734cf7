"""Keys: where they come from, which service is shown them, and a whole walk over TLS."""

import contextlib
import json
import os
import subprocess
import tempfile
import time
import unittest
import warnings
from pathlib import Path
from unittest import mock

import belljar
from belljar._access import key_file, with_key

from . import support
from .support import run_python
from .test_http import Peer

KEY = "bj_" + "7" * 40


@contextlib.contextmanager
def home(**variables):
    """A home directory and an environment without keys."""
    with tempfile.TemporaryDirectory() as path:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BELLJAR_", "XDG_"))}
        with mock.patch.dict(os.environ, {**kept, "HOME": path, **variables}, clear=True):
            yield Path(path)


def write_keys(text, mode=0o600):
    path = key_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def shown(url, key=None, headers=None):
    return with_key(url, key, headers).get("Authorization")


class Sources(unittest.TestCase):
    def test_given_goes_before_the_variable_and_that_before_the_file(self):
        with home():
            self.assertIsNone(shown("http://127.0.0.1:8000"))
            write_keys("# mine\n\nhttp://127.0.0.1:8000 bj_file\n")
            self.assertEqual(shown("http://127.0.0.1:8000"), "Bearer bj_file")
            os.environ["BELLJAR_KEY"] = "bj_variable\n"
            self.assertEqual(shown("http://127.0.0.1:8000"), "Bearer bj_variable")
            self.assertEqual(shown("http://127.0.0.1:8000", "bj_given"), "Bearer bj_given")

    def test_a_key_of_the_file_is_shown_to_its_own_service_only(self):
        with home():
            write_keys(f"https://faas.example:8443 {KEY}\nhttps://other.example bj_other\n")
            for url in ("https://faas.example:8443", "https://faas.example:8443/base/", "HTTPS://FAAS.example:8443"):
                self.assertEqual(shown(url), f"Bearer {KEY}", url)
            for url in ("http://faas.example:8443", "https://faas.example", "https://faas.example.evil:8443"):
                self.assertIsNone(shown(url), url)
            self.assertEqual(shown("https://other.example:443"), "Bearer bj_other")

    def test_a_file_that_others_can_read_is_refused(self):
        with home():
            for mode in (0o640, 0o604, 0o620):
                write_keys(f"http://127.0.0.1:8000 {KEY}\n", mode)
                with self.assertRaisesRegex(belljar.AccessDenied, "chmod 600"):
                    belljar.Client("http://127.0.0.1:8000")
            write_keys("http://127.0.0.1:8000\n")
            with self.assertRaisesRegex(belljar.AccessDenied, "line 1"):
                belljar.Client("http://127.0.0.1:8000")

    def test_a_header_of_ones_own_stays(self):
        with home(BELLJAR_KEY=KEY):
            self.assertEqual(shown("http://127.0.0.1:8000", headers={"Authorization": "Basic x"}), "Basic x")
            with self.assertRaises(ValueError):
                shown("http://127.0.0.1:8000", KEY, {"authorization": "Basic x"})

    def test_a_key_that_travels_in_the_open_is_warned_of(self):
        with home():
            with self.assertWarnsRegex(UserWarning, "unencrypted to faas.example"):
                shown("http://faas.example", KEY)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                shown("https://faas.example", KEY)
                shown("http://localhost:1", KEY)

    def test_a_file_without_certificates_is_named(self):
        with self.assertRaisesRegex(ValueError, "/nowhere/ca.pem"):
            belljar.Client("https://faas.example", ca="/nowhere/ca.pem")
        for cert, named in (("/nowhere/a.pem", "`/nowhere/a.pem`"), (("/nowhere/a.pem", "/nowhere/a.key"), "and `/nowhere/a.key`")):
            with self.assertRaisesRegex(ValueError, named):
                belljar.Client("https://faas.example", cert=cert)
        with home(BELLJAR_CERT="/nowhere/variable.pem"), self.assertRaisesRegex(ValueError, "/nowhere/variable.pem"):
            belljar.Client("https://faas.example")


class Shown(unittest.IsolatedAsyncioTestCase):
    async def test_every_request_shows_the_key_and_a_refusal_is_not_repeated(self):
        refused = json.dumps({"detail": "the key was revoked", "code": "key_revoked"}).encode()
        head = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: %d\r\n\r\n" % len(refused)
        async with Peer(head + refused) as peer:
            with home():
                executor = belljar.AsyncExecutor(peer.url, key=KEY)
                with self.assertRaises(belljar.AccessDenied) as caught:
                    await executor.submit(len, "abc")
                await executor.shutdown()
            self.assertEqual((caught.exception.status, caught.exception.code), (401, "key_revoked"))
            self.assertEqual(len(peer.requests), 1)
            self.assertIn(f"\r\nAuthorization: Bearer {KEY}\r\n".encode(), peer.requests[0])


SIX_LINES = """
import belljar
def double(x):
    return 2 * x
with belljar.Executor({url!r}, ca={ca!r}) as executor:
    print(executor.submit(double, 21).result(), sum(executor.map(double, range(100))))
"""


class Walk(unittest.TestCase):
    """A service over TLS, a key for a colleague, their six lines, and the end of the key."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        cls.ca = str(cls.folder / "faas.pem")
        cls.openssl("req -x509 {new} -days 2 -keyout faas.key -out faas.pem -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1")
        cls.openssl("req -x509 {new} -days 2 -keyout clients.key -out clients.pem -subj /CN=clients")
        options = ["--tls-cert", cls.ca, "--tls-key", str(cls.folder / "faas.key")]
        cls.service = support.Service(*options, "--tls-client-ca", str(cls.folder / "clients.pem"))
        cls.addClassCleanup(cls.service.stop)

    @classmethod
    def openssl(cls, words):
        words = words.format(new="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes")
        subprocess.run(["openssl", *words.split()], check=True, capture_output=True, cwd=cls.folder)

    def command(self, *words):
        command = [str(support.binary()), "key", *words, "--data", str(self.service.data)]
        return subprocess.run(command, capture_output=True, text=True, env=support.environment(), check=True).stdout

    def create(self, *words):
        return self.command("create", *words).strip()

    def executor(self, key, **more):
        return belljar.Executor(self.service.url, key=key, ca=self.ca, retry_timeout=5, **more)

    def test_a_colleague_runs_six_lines_until_the_key_is_revoked(self):
        self.assertTrue(self.service.url.startswith("https://127.0.0.1:"))
        key = self.create("colleague", "--tenant", "research", "--expires", "1d")
        self.assertRegex(key, "^bj_[0-9a-z]{40}$")
        lines = SIX_LINES.format(url=self.service.url, ca=self.ca)
        with home():
            run = run_python("-c", lines, env={"BELLJAR_KEY": key})
            self.assertEqual(run.stdout, "42 9900\n", run.stderr)
            self.assertIn("AccessDenied: the request shows no key", run_python("-c", lines).stderr)
            run = run_python("-m", "belljar", "tasks", "--url", self.service.url, env={"BELLJAR_KEY": key, "SSL_CERT_FILE": self.ca})
            self.assertIn("COMPLETED", run.stdout, run.stderr)
            plain = self.service.url.replace("https", "http")
            with belljar.Client(plain, key=key, retry_timeout=0.5, connect_timeout=0.5) as client:
                with self.assertRaisesRegex(belljar.InvalidRequest, "use https:// instead of http://"):
                    list(client.tasks())
            with belljar.Client(self.service.url, key=key) as client:
                with self.assertRaisesRegex(belljar.ServiceUnreachable, "cannot be trusted"):
                    list(client.tasks())
        self.assertIn("is refused within 5 s", self.command("revoke", "colleague"))
        with belljar.Client(self.service.url, key=key, ca=self.ca) as client:
            end = time.monotonic() + 5
            with self.assertRaisesRegex(belljar.AccessDenied, "the key was revoked") as caught:
                while time.monotonic() < end:
                    list(client.tasks())
        self.assertEqual((caught.exception.status, caught.exception.code), (401, "key_revoked"))

    def test_a_certificate_stands_for_a_key(self):
        self.openssl("req {new} -keyout ann.key -out ann.csr -subj /CN=ann -addext extendedKeyUsage=clientAuth")
        self.openssl("x509 -req -in ann.csr -CA clients.pem -CAkey clients.key -copy_extensions copy -days 90 -out ann.pem")
        cert = (str(self.folder / "ann.pem"), str(self.folder / "ann.key"))
        both = self.folder / "both.pem"
        both.write_text("".join(Path(path).read_text() for path in cert))
        with home():
            client = belljar.Client(self.service.url, cert=cert, ca=self.ca)
            with client, self.assertRaisesRegex(belljar.AccessDenied, "key create --certificate"):
                list(client.tasks())
            self.assertEqual(self.create("Ann", "--certificate", "ann", "--tenant", "of-ann"), "")
            end = time.monotonic() + 10  # What was refused is remembered for a moment.
            with belljar.Client(self.service.url, cert=cert, ca=self.ca) as client:
                while time.monotonic() < end:
                    with contextlib.suppress(belljar.AccessDenied):
                        self.assertEqual(list(client.tasks()), [])
                        break
            lines = SIX_LINES.format(url=self.service.url, ca=self.ca)
            run = run_python("-c", lines, env={"BELLJAR_CERT": str(both)})
            self.assertEqual(run.stdout, "42 9900\n", run.stderr)
        rows = [row for row in json.loads(self.command("list", "--json")) if row["certificate"] == "ann"]
        self.assertEqual([(row["name"], row["tenant"], row["state"]) for row in rows], [("Ann", "of-ann", "valid")])
        for words in (("create", "other", "--certificate", "ann"), ("rotate", "Ann")):
            with self.assertRaises(subprocess.CalledProcessError) as caught:
                self.command(*words)
            self.assertIn("certificate", caught.exception.stderr)

    def test_tenants_see_their_own_only_and_scopes_limit(self):
        ours, theirs = self.create("ours", "--tenant", "a"), self.create("theirs", "--tenant", "b")
        with self.executor(ours) as executor:
            future = executor.submit(pow, 2, 5)
            self.assertEqual(future.result(), 32)
            large = bytes(range(256)) * 10_000  # More than one record of TLS, in both directions.
            self.assertEqual(executor.submit(bytes, large).result(), large)
        with belljar.Client(self.service.url, key=theirs, ca=self.ca) as client:
            with self.assertRaises(belljar.NotFound):
                client.record(future.task_id)
            self.assertEqual(list(client.tasks()), [])
            with self.assertRaises(belljar.AccessDenied) as caught:
                list(client.workers())
            self.assertEqual(caught.exception.code, "scope_missing")
        reader = self.create("reader", "--tenant", "a", "--scope", "read")
        with belljar.Client(self.service.url, key=reader, ca=self.ca) as client:
            self.assertEqual(client.status(future.task_id), "COMPLETED")
            with self.assertRaises(belljar.AccessDenied):
                client.cancel(future.task_id)
        admin = self.create("admin", "--scope", "admin")
        with belljar.Client(self.service.url, key=admin, ca=self.ca) as client:
            self.assertTrue(list(client.workers()))

    def test_rotated_keys_overlap_and_lists_hide_the_keys(self):
        old = self.create("rotated", "--tenant", "r")
        new = self.command("rotate", "rotated", "--overlap", "1h").strip()
        for key in (old, new):
            with belljar.Client(self.service.url, key=key, ca=self.ca) as client:
                self.assertEqual(list(client.tasks()), [])
        listed = json.loads(self.command("list", "--json"))
        rows = [row for row in listed if row["name"] == "rotated"]
        self.assertEqual([row["state"] for row in rows], ["valid", "valid"])
        self.assertIsNone(rows[0]["expires_at"])
        self.assertIsNotNone(rows[1]["expires_at"])
        text = self.command("list") + json.dumps(listed)
        self.assertFalse(old[3:] in text or new[3:] in text)
        self.command("revoke", old)  # By the key itself, as when it has leaked.
        states = {row["key"]: row["state"] for row in json.loads(self.command("list", "--json"))}
        self.assertEqual([states[row["key"]] for row in rows], ["valid", "revoked"])


if __name__ == "__main__":
    unittest.main()
