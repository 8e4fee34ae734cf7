"""The chart, rendered for several clusters and checked against the schemas of Kubernetes."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import chart
from common import ROOT, run

CHART = ROOT / "deploy/helm/belljar"
# The objects of a text, as JSON, and the first schema that one breaks. Those of KEDA have no schema there.
CHECK = """
import json, sys, yaml, kubernetes_validate
objects = [found for found in yaml.safe_load_all(sys.stdin) if found]
for found in objects:
    if not found["apiVersion"].startswith("keda.sh/"):
        try:
            kubernetes_validate.validate(found, "1.33", strict=True)
        except kubernetes_validate.ValidationError as error:
            sys.exit(f"{found['kind']} {found['metadata']['name']}: {error}")
json.dump(objects, sys.stdout)
"""


class Chart(unittest.TestCase):
    def check(self, text: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([chart.schemas(), "-c", CHECK], input=text, capture_output=True, text=True)

    def render(self, *settings: str) -> str:
        with tempfile.TemporaryDirectory() as home:
            env = {**os.environ, **{f"HELM_{kind}_HOME": home for kind in ("CACHE", "CONFIG", "DATA")}}
            sets = [word for setting in settings for word in ("--set", setting)]
            return run(chart.helm(), "template", "bj", CHART, "-n", "faas", *sets, env=env)

    def objects(self, *settings: str) -> "dict[tuple[str, str], dict]":
        checked = self.check(self.render(*settings))
        self.assertEqual((checked.returncode, checked.stderr), (0, ""))
        return {(found["kind"], found["metadata"]["name"]): found for found in json.loads(checked.stdout)}

    def test_what_breaks_a_schema_is_found(self) -> None:
        broken = self.render().replace("readOnlyRootFilesystem", "readOnlyRootFileSystem")
        self.assertIn("readOnlyRootFileSystem", self.check(broken).stderr)

    def test_every_pod_is_confined(self) -> None:
        found = self.objects("keda.enabled=true")
        pods = {name: made["spec"]["template"]["spec"] for (_, name), made in found.items() if "template" in made["spec"]}
        self.assertEqual(set(pods), {"bj-gateway", "bj-dispatcher", "bj-worker-sandbox", "bj-redis"})
        for name, pod in pods.items():
            with self.subTest(name):
                self.assertTrue(pod["securityContext"]["runAsNonRoot"])
                self.assertFalse(pod["automountServiceAccountToken"])
                for container in pod["containers"]:
                    confined = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
                    self.assertEqual(container["securityContext"], confined)
                    self.assertIn("memory", container["resources"]["limits"])

    def test_its_own_redis_and_one_of_yours(self) -> None:
        self.assertIn(("StatefulSet", "bj-redis"), self.objects())
        found = self.objects("redis.url=secret")
        self.assertNotIn(("StatefulSet", "bj-redis"), found)
        self.assertNotIn(("NetworkPolicy", "bj-redis"), found)
        env = self.environment(found["Deployment", "bj-gateway"])
        self.assertEqual(env["BELLJAR_REDIS"]["valueFrom"]["secretKeyRef"]["key"], "BELLJAR_REDIS")

    def test_without_tls_the_gateway_still_requires_keys(self) -> None:
        env = self.environment(self.objects()["Deployment", "bj-gateway"])
        self.assertEqual((env["BELLJAR_INSECURE"]["value"], env["BELLJAR_KEYS"]["value"]), ("true", "required"))
        env = self.environment(self.objects("gateway.tlsSecret=web")["Deployment", "bj-gateway"])
        self.assertNotIn("BELLJAR_INSECURE", env)

    def test_each_group_of_workers_scales_by_its_queues(self) -> None:
        groups = ("workers.native.runtime=native", "workers.native.slots=2", "workers.native.drainSeconds=5",
                  "workers.native.scale.min=0", "workers.native.scale.max=3", "workers.native.scale.classes={native:3.11}")
        found = self.objects("keda.enabled=true", *groups)
        scaled = found["ScaledObject", "bj-worker-native"]["spec"]
        self.assertEqual(scaled["scaleTargetRef"]["name"], "bj-worker-native")
        self.assertEqual((scaled["minReplicaCount"], scaled["maxReplicaCount"]), (1, 3))
        [trigger] = scaled["triggers"]
        self.assertEqual(trigger["metadata"]["valueLocation"], 'belljar_service_queue_length{class="native:3.11"}')
        self.assertEqual(trigger["authenticationRef"]["name"], "bj-metrics")
        self.assertIn(("TriggerAuthentication", "bj-metrics"), found)
        self.assertNotIn("replicas", found["Deployment", "bj-worker-native"]["spec"])
        self.assertEqual(len(found["ScaledObject", "bj-worker-sandbox"]["spec"]["triggers"]), 2)

    def test_workers_reach_their_dispatcher_alone(self) -> None:
        policy = self.objects()["NetworkPolicy", "bj-workers"]["spec"]
        dns, dispatcher = policy["egress"]
        self.assertEqual({port["port"] for port in dns["ports"]}, {53})
        self.assertEqual(dispatcher["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"], "dispatcher")
        self.assertFalse(policy.get("ingress"))

    def test_the_containers_of_compose_are_confined_too(self) -> None:
        script = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)"
        text = (ROOT / "deploy/compose.yaml").read_text()
        services = json.loads(run(chart.schemas(), "-c", script, input=text))["services"]
        self.assertEqual(set(services), {"redis", "gateway", "dispatcher", "worker"})
        for name, service in services.items():
            self.assertTrue(service["read_only"], name)
            self.assertEqual(service.get("cap_drop"), None if name == "redis" else ["ALL"], name)
        # Without keys and TLS: for this machine alone.
        self.assertTrue(all(port.startswith("127.0.0.1:") for port in services["gateway"]["ports"]))

    @staticmethod
    def environment(deployment: dict) -> "dict[str, dict]":
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        return {variable["name"]: variable for variable in container["env"]}


if __name__ == "__main__":
    unittest.main(verbosity=2)
