"""No future is lost, and no call doubled, whatever part of the service is killed."""

import json
import threading
import unittest
import urllib.request
import uuid

import belljar

from . import support


def same(n):
    return n


support.as_of_a_script(globals())


class Restarts(unittest.TestCase):
    """Parts of a service of its own are killed under load."""

    def setUp(self):
        self.service = support.Service()
        self.addCleanup(self.service.stop)

    def check(self, part, kills):
        done = threading.Event()

        def kill():
            for _ in range(kills):
                if done.wait(0.5):
                    return
                self.service.kill(part)

        with belljar.Executor(self.service.url) as executor:
            before = self.accepted()
            killer = threading.Thread(target=kill)
            killer.start()
            try:
                futures = []
                while killer.is_alive():
                    futures += [executor.submit(same, n) for n in range(len(futures), len(futures) + 100)]
                    futures[-1].result(120)
                    for _ in range(20):  # Alone, which goes another way.
                        futures.append(executor.submit(same, len(futures)))
                        futures[-1].result(120)
                self.assertEqual([future.result(120) for future in futures], list(range(len(futures))))
            finally:
                done.set()
                killer.join()
            self.assertEqual(len({future.task_id for future in futures}), len(futures))
            self.assertEqual(self.accepted() - before, len(futures), "each call was accepted once")

    def accepted(self):
        with urllib.request.urlopen(f"{self.service.url}/v1/audit") as reply:
            return json.load(reply)["accepted"]

    def test_of_the_gateway(self):
        self.check("belljar gateway", 6)

    def test_of_redis(self):
        self.check("redis-server", 4)


class Repeats(unittest.TestCase):
    """A batch whose answer was lost is sent again, and is accepted once."""

    def test_the_same_batch_is_the_same_tasks(self):
        with belljar.Executor(support.shared()) as executor:
            keyed = executor.options(idempotency_key=uuid.uuid4().hex)
            first = keyed.submit(len, "four")
            first.result(60)
            self.assertEqual(keyed.submit(len, "four").result(60), 4)
            self.assertEqual(first.record().attempts, 1)
