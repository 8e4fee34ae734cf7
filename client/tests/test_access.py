"""Keys: where they come from, which service is shown them, and a whole walk over TLS."""

import asyncio
import base64
import contextlib
import http.server
import json
import os
import subprocess
import tempfile
import threading
import time
import unittest
import warnings
from pathlib import Path
from unittest import mock

import belljar
from belljar._access import Access, key_file
from belljar._pool import Settings

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
    return Access(url, key, headers).headers().get("Authorization")


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


def answer(code, fields):
    body = json.dumps(fields).encode()
    return b"HTTP/1.1 %d Some\r\nContent-Length: %d\r\n\r\n%s" % (code, len(body), body)


REFUSED = answer(401, {"detail": "the token has ended", "code": "token_expired"})
STATUS = answer(200, {"status": "QUEUED"})


class Renewed(unittest.IsolatedAsyncioTestCase):
    """Keys that are read again once the service refuses the last."""

    async def keys_shown(self, answers, key=None, calls=1):
        """What each request showed while statuses were asked for at once."""
        async with Peer(*answers) as peer:
            service = Settings(peer.url, None, 5, 5, key).service()
            try:
                await asyncio.gather(*(service.status("x") for _ in range(calls)))
            finally:
                service.close()
                self.shown = [head.partition(b"Bearer ")[2].partition(b"\r\n")[0].decode() for head in peer.requests]
        return self.shown

    async def test_a_callable_is_asked_before_the_first_request_and_after_a_refusal(self):
        tokens = iter(("one", "two\n", "three"))
        with home():
            shown = await self.keys_shown([STATUS], lambda: next(tokens))
            self.assertEqual(shown, ["one"])
            shown = await self.keys_shown([REFUSED, STATUS], lambda: next(tokens))
            self.assertEqual(shown, ["two", "three"])

    async def test_many_requests_that_are_refused_renew_once(self):
        asked = []

        def token():
            asked.append(time.monotonic())
            return f"token{len(asked)}"

        with home():
            shown = await self.keys_shown([REFUSED] * 4 + [STATUS] * 4, token, calls=4)
        self.assertEqual((sorted(shown), len(asked)), (["token1"] * 4 + ["token2"] * 4, 2))

    async def test_the_same_key_is_not_shown_twice(self):
        with home(), self.assertRaisesRegex(belljar.AccessDenied, "has ended") as caught:
            await self.keys_shown([REFUSED, STATUS], lambda: "same")
        self.assertEqual((caught.exception.code, self.shown), ("token_expired", ["same"]))
        count = iter(range(9))
        with home(), self.assertRaises(belljar.AccessDenied):
            await self.keys_shown([REFUSED] * 9, lambda: str(next(count)))
        self.assertEqual(self.shown, ["0", "1"], "who refuses every key is not asked on and on")

    async def test_files_and_commands_are_read_again(self):
        with home() as path:
            file = path / "token"
            file.write_text("first\n")
            with mock.patch.dict(os.environ, BELLJAR_KEY_FILE=str(file)):
                async with Peer(STATUS, REFUSED, STATUS) as peer:
                    with belljar.Client(peer.url) as client:
                        for content in ("second\n", "third\n"):
                            await asyncio.to_thread(client.status, "x")
                            file.write_text(content)
                    shown = [head.partition(b"Bearer ")[2].partition(b"\r\n")[0] for head in peer.requests]
                self.assertEqual(shown, [b"first", b"first", b"second"])
            command = f"sh -c 'cat {file}; echo +>>{path}/count'"
            with mock.patch.dict(os.environ, BELLJAR_KEY_COMMAND=command):
                self.assertEqual(await self.keys_shown([STATUS, STATUS], calls=2), ["third"] * 2)
            self.assertEqual((path / "count").read_text(), "+\n")

    async def test_what_gives_no_key_says_why(self):
        def fails():
            raise OSError("the issuer is away")

        with home() as path:
            for key, said in ((fails, "OSError: the issuer is away"), (lambda: None, "NoneType instead of a text")):
                with self.assertRaisesRegex(belljar.AccessDenied, said):
                    await self.keys_shown([STATUS], key)
                self.assertEqual(self.shown, [])
            commands = {"false": "ended with 1 and said: nothing", "sh -c 'echo bad >&2; exit 3'": "ended with 3 and said: bad",
                        f"{path}/nowhere": "No such file", "'": "No closing quotation"}
            for command, said in commands.items():
                with mock.patch.dict(os.environ, BELLJAR_KEY_COMMAND=command), self.assertRaisesRegex(belljar.AccessDenied, said):
                    await self.keys_shown([STATUS])
            with mock.patch.dict(os.environ, BELLJAR_KEY_FILE=f"{path}/nowhere"):
                with self.assertRaisesRegex(belljar.AccessDenied, "BELLJAR_KEY_FILE"):
                    belljar.Client("http://127.0.0.1:8000")


class Issuer:
    """An OpenID Connect issuer on this machine, whose tokens end after some seconds."""

    LEEWAY = 60  # by which a gateway lets clocks differ

    def __init__(self, folder):
        self._key, self.tokens = Path(folder) / "issuer.key", 0
        openssl = ["openssl", "genrsa", "-out", str(self._key), "2048"]
        subprocess.run(openssl, check=True, capture_output=True)
        words = ["openssl", "rsa", "-in", str(self._key), "-noout", "-modulus"]
        modulus = bytes.fromhex(subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip().partition("=")[2])
        issuer = self

        class Documents(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1", "n": issuer.base64(modulus), "e": "AQAB"}
                document = {"keys": [key]} if self.path == "/keys" else {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"}
                body = json.dumps(document).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Documents)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @staticmethod
    def base64(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    def token(self, seconds):
        """One that is taken for so many seconds more."""
        self.tokens += 1
        claims = {"iss": self.url, "aud": "belljar", "sub": "ann", "exp": int(time.time()) - self.LEEWAY + seconds,
                  "tenant": "research", "scope": "belljar:submit belljar:read belljar:register", "jti": self.tokens}
        parts = ({"alg": "RS256", "kid": "1"}, claims)
        signed = ".".join(self.base64(json.dumps(part).encode()) for part in parts)
        words = ["openssl", "dgst", "-sha256", "-sign", str(self._key)]
        signature = subprocess.run(words, input=signed.encode(), check=True, capture_output=True).stdout
        return f"{signed}.{self.base64(signature)}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class Tokens(unittest.TestCase):
    """Tokens of an issuer that end while a program runs."""

    def test_a_program_outlives_its_tokens(self):
        with tempfile.TemporaryDirectory() as folder, home():
            issuer = Issuer(folder)
            self.addCleanup(issuer.close)
            service = support.Service("--oidc-issuer", issuer.url, "--oidc-audience", "belljar")
            self.addCleanup(service.stop)
            with belljar.Executor(service.url, key=lambda: issuer.token(2), retry_timeout=5) as executor:
                end, calls = time.monotonic() + 60, 0
                while issuer.tokens < 3 and time.monotonic() < end:
                    self.assertEqual(executor.submit(pow, 2, 5).result(), 32)
                    calls += 1
                self.assertGreaterEqual(issuer.tokens, 3)
                self.assertGreater(calls, issuer.tokens)
                slow = executor.submit(time.sleep, 8)  # Longer than the token that it was submitted with.
                self.assertIsNone(slow.result())
            with belljar.Executor(service.url, key=issuer.token(2), retry_timeout=5) as executor:
                with self.assertRaisesRegex(belljar.AccessDenied, "token") as caught:
                    while time.monotonic() < end:
                        executor.submit(pow, 2, 5).result()
            self.assertEqual(caught.exception.status, 401)
            token = Path(folder) / "token"
            token.write_text(issuer.token(600))
            command = {"BELLJAR_KEY_COMMAND": f"cat {token}"}
            run = run_python("-m", "belljar", "tasks", "--url", service.url, env=command)
            self.assertIn("COMPLETED", run.stdout, run.stderr)


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
