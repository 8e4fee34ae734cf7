"""Services whose clients show keys, and holders of keys."""

import http.client
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from python_client import deserialize, serialize

import belljar_testkit


# What workers run, apart from this module, which they do not have.
FUNCTIONS = """
def noop(x):
    return x

def leave(x):
    with open("left.txt", "w") as file:
        file.write(str(x))

def nap(seconds):
    import time
    time.sleep(seconds)

def spin(seconds):
    import time
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
"""
_names = {"__name__": "__main__"}
exec(FUNCTIONS, _names)
noop, leave, nap, spin = (_names[name] for name in ("noop", "leave", "nap", "spin"))


class Peer:
    """One holder of a key, over one connection at a time."""

    def __init__(self, url, key=None, source=None):
        self.host = url.removeprefix("http://")
        self.headers = {"Content-Type": "application/json"}
        if key:
            self.headers["Authorization"] = f"Bearer {key}"
        self.source = (source, 0) if source else None
        self.connection = None

    def send(self, method, path, body=None):
        """Status, answer and headers."""
        data = None if body is None else json.dumps(body).encode()
        for is_last in (False, True):
            if self.connection is None:
                self.connection = http.client.HTTPConnection(self.host, source_address=self.source)
            try:
                self.connection.request(method, path, data, self.headers)
                if path.startswith("/v1/events"):
                    return self.connection.getresponse().status, {}, {}
                response = self.connection.getresponse()
                text = response.read()
                break
            except (http.client.HTTPException, OSError):
                self.connection = None
                if is_last:
                    raise
        if response.will_close:
            self.connection = None
        is_json = response.headers.get_content_type() == "application/json"
        return response.status, json.loads(text) if is_json else {}, response.headers

    def ok(self, method, path, body=None):
        status, reply, _ = self.send(method, path, body)
        if status != 200:
            raise RuntimeError(f"{method} {path}: {status}: {reply}")
        return reply

    def register(self, function):
        python = "{}.{}".format(*sys.version_info)
        body = {"name": function.__name__, "payload": serialize(function), "python": python}
        return self.ok("POST", "/register_function", body)["function_id"]

    def call(self, function_id, argument):
        body = {"function_id": function_id, "payload": serialize(((argument,), {}))}
        reply = self.ok("POST", "/execute_function?wait=60", body)
        assert reply["status"] == "COMPLETED", reply
        return deserialize(reply["result"])

    def batch(self, function_id, argument, count, **more):
        ids, payload = [], serialize(((argument,), {}))
        while count > len(ids):
            part = [payload] * min(10_000, count - len(ids))
            ids += self.ok("POST", "/v1/tasks", {"function_id": function_id, "payloads": part, **more})["task_ids"]
        return ids


class Service(belljar_testkit.Service):
    """A service whose clients show keys."""

    def __init__(self, options, *words, tenants=None):
        self.belljar = options.belljar
        self.file = tempfile.NamedTemporaryFile("w", suffix=".toml")
        if tenants is not None:
            self.file.write(tenants)
            self.file.flush()
            words = (*words, "--tenants", self.file.name)
        super().__init__(options.belljar, "-m", options.mode, "-w", "2", "--keys", "required", *words)

    def key(self, tenant, *words):
        command = [self.belljar, "key", "create", tenant, "--tenant", tenant, "--data", self.data, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def revoke(self, key):
        command = [self.belljar, "key", "revoke", key, "--data", self.data]
        subprocess.run(command, check=True, capture_output=True)

    def peer(self, tenant, *words):
        return Peer(self.url, self.key(tenant, *words))


def say(*cells):
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def table(title, *heads):
    print(f"\n{title}\n")
    say(*heads)
    say(*["---"] * len(heads))
