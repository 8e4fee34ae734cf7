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

    def template(self, *settings: str) -> "subprocess.CompletedProcess[str]":
        with tempfile.TemporaryDirectory() as home:
            env = {**os.environ, **{f"HELM_{kind}_HOME": home for kind in ("CACHE", "CONFIG", "DATA")}}
            sets = [word for setting in settings for word in ("--set", setting)]
            command = [chart.helm(), "template", "bj", CHART, "-n", "faas", *sets]
            return subprocess.run(command, env=env, capture_output=True, text=True)

    def render(self, *settings: str) -> str:
        made = self.template(*settings)
        self.assertEqual((made.returncode, made.stderr), (0, ""))
        return made.stdout

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

    def test_who_reaches_the_gateway(self) -> None:
        found = self.objects(
            "gateway.tlsSecret=web", "gateway.clientCaSecret=people", "gateway.publicUrl=https://faas.example.com/belljar",
            "gateway.trustedProxies={10.0.0.0/8,192.0.2.1}", "gateway.forwardedHeader=forwarded",
            "gateway.corsOrigins={https://app.example.com,https://b.example.com}", "gateway.oidc.issuer=https://id.example.com",
            "gateway.oidc.audience=belljar", "gateway.audit.stream=1000000", "gateway.audit.claim=records", "gateway.env.BELLJAR_RESULT_TTL=60",
        )
        gateway = found["Deployment", "bj-gateway"]
        env = {name: variable.get("value") for name, variable in self.environment(gateway).items()}
        self.assertLessEqual({
            "BELLJAR_HTTP_TLS_CLIENT_CA": "/client-ca/ca.crt", "BELLJAR_PUBLIC_URL": "https://faas.example.com/belljar",
            "BELLJAR_TRUSTED_PROXY": "10.0.0.0/8,192.0.2.1", "BELLJAR_FORWARDED_HEADER": "forwarded",
            "BELLJAR_CORS_ORIGIN": "https://app.example.com,https://b.example.com", "BELLJAR_OIDC_ISSUER": "https://id.example.com",
            "BELLJAR_OIDC_AUDIENCE": "belljar", "BELLJAR_OIDC_TENANT_CLAIM": "tenant", "BELLJAR_OIDC_SCOPE_CLAIM": "scope",
            "BELLJAR_AUDIT_STREAM": "1000000", "BELLJAR_AUDIT_LOG": "/audit/$(POD_NAME).jsonl", "BELLJAR_RESULT_TTL": "60",
        }.items(), env.items())
        # What a variable refers to stands before it.
        self.assertLess(list(env).index("POD_NAME"), list(env).index("BELLJAR_AUDIT_LOG"))
        self.assertEqual(self.mounts(gateway), {"/tmp": "tmp", "/tls": "tls", "/client-ca": "client-ca", "/audit": "audit"})
        self.assertNotIn("BELLJAR_TENANTS", env)
        self.assertRefused("clients show certificates over TLS alone", "gateway.clientCaSecret=people")
        self.assertRefused("gateway.oidc.audience", "gateway.oidc.issuer=https://id.example.com")

    def test_policies_of_tenants_are_a_file(self) -> None:
        found = self.objects("tenants.policies=[default]\nweight = 2")
        self.assertEqual(found["ConfigMap", "bj-tenants"]["data"], {"tenants.toml": "[default]\nweight = 2"})
        for found, kind in ((found, "configMap"), (self.objects("tenants.secret=mine"), "secret")):
            gateway = found["Deployment", "bj-gateway"]
            self.assertEqual(self.environment(gateway)["BELLJAR_TENANTS"]["value"], "/tenants/tenants.toml")
            self.assertEqual(self.mounts(gateway)["/tenants"], "tenants")
            [volume] = [one for one in gateway["spec"]["template"]["spec"]["volumes"] if one["name"] == "tenants"]
            self.assertIn(kind, volume)
        self.assertNotIn(("ConfigMap", "bj-tenants"), found)

    def test_large_values_have_a_volume_on_one_node(self) -> None:
        found = self.objects("blobs.enabled=true", "blobs.size=7Gi", "blobs.storageClass=fast")
        claim = found["PersistentVolumeClaim", "bj-blobs"]["spec"]
        self.assertEqual((claim["storageClassName"], claim["resources"]["requests"]["storage"]), ("fast", "7Gi"))
        for name in ("bj-gateway", "bj-dispatcher"):
            made = found["Deployment", name]
            self.assertEqual(self.environment(made)["BELLJAR_BLOBS"]["value"], "/blobs/values")
            self.assertEqual(self.mounts(made)["/blobs"], "blobs")
            pod = made["spec"]["template"]
            [rule] = pod["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            self.assertLessEqual(rule["labelSelector"]["matchLabels"].items(), pod["metadata"]["labels"].items())
        self.assertNotIn("/blobs", self.mounts(found["Deployment", "bj-worker-sandbox"]))

    def test_workers_share_the_volume_where_they_are_told_to(self) -> None:
        found = self.objects("blobs.enabled=true", "workers.sandbox.blobs=true")
        worker = found["Deployment", "bj-worker-sandbox"]
        self.assertEqual(self.environment(worker)["BELLJAR_BLOBS"]["value"], "/blobs/values")
        self.assertEqual(self.mounts(worker)["/blobs"], "blobs")
        pod = worker["spec"]["template"]
        self.assertIn("blobs", [volume["name"] for volume in pod["spec"]["volumes"]])
        [rule] = pod["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        self.assertLessEqual(rule["labelSelector"]["matchLabels"].items(), pod["metadata"]["labels"].items())
        self.assertRefused("there is no volume to share", "workers.sandbox.blobs=true")

    def test_large_values_have_a_bucket_on_several_nodes(self) -> None:
        settings = ("blobs.bucket=s3://values/belljar", "blobs.bucketSecret=mine")
        [alone] = self.objects(*settings)["Deployment", "bj-worker-sandbox"]["spec"]["template"]["spec"]["containers"]
        self.assertNotIn("envFrom", alone)
        found = self.objects(*settings, "workers.sandbox.blobs=true")
        for name in ("bj-gateway", "bj-dispatcher", "bj-worker-sandbox"):
            made = found["Deployment", name]
            self.assertEqual(self.environment(made)["BELLJAR_BLOBS"]["value"], "s3://values/belljar")
            [container] = made["spec"]["template"]["spec"]["containers"]
            self.assertEqual(container["envFrom"], [{"secretRef": {"name": "mine"}}])
            self.assertNotIn("affinity", made["spec"]["template"]["spec"])
        self.assertNotIn(("PersistentVolumeClaim", "bj-blobs"), found)
        self.assertRefused("in a volume or in a bucket", "blobs.bucket=s3://values", "blobs.enabled=true")

    def test_dispatchers_and_workers_show_metrics(self) -> None:
        found = self.objects("metrics.enabled=true", "metrics.port=9000", "networkPolicy.metricsFrom[0].podSelector.matchLabels.app=prometheus")
        for name in ("bj-dispatcher", "bj-worker-sandbox"):
            made = found["Deployment", name]
            self.assertEqual(self.environment(made)["BELLJAR_METRICS_LISTEN"]["value"], "0.0.0.0:9000")
            self.assertEqual(made["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"], "9000")
            [container] = made["spec"]["template"]["spec"]["containers"]
            self.assertIn({"name": "metrics", "containerPort": 9000}, container["ports"])
        for name in ("bj-dispatcher", "bj-workers"):
            rule = found["NetworkPolicy", name]["spec"]["ingress"][-1]
            self.assertEqual((rule["ports"], rule["from"][0]["podSelector"]["matchLabels"]), ([{"port": "metrics"}], {"app": "prometheus"}))
        self.assertNotIn("BELLJAR_METRICS_LISTEN", self.environment(found["Deployment", "bj-gateway"]))

    def test_every_variable_is_one_of_the_program(self) -> None:
        # Each value that is not there by default is asked for.
        found = self.objects(
            "gateway.tlsSecret=web", "gateway.clientCaSecret=people", "gateway.publicUrl=https://x", "gateway.trustedProxies={10.0.0.0/8}",
            "gateway.corsOrigins={https://x}", "gateway.oidc.issuer=https://x", "gateway.oidc.audience=x", "gateway.audit.stream=1",
            "gateway.audit.claim=x", "tenants.secret=x", "blobs.enabled=true", "workers.sandbox.blobs=true", "metrics.enabled=true", "dispatcher.tlsSecret=x",
            "traces.otlpEndpoint=http://x",
        )
        page = (ROOT / "docs/reference/cli.md").read_text()
        for name, section in (("bj-gateway", "gateway"), ("bj-dispatcher", "dispatcher"), ("bj-worker-sandbox", "worker")):
            text = page.split(f"## `belljar {section}`\n", 1)[1].split("\n## ", 1)[0]
            for variable in set(self.environment(found["Deployment", name])) - {"POD_NAME"}:
                with self.subTest(f"{name} {variable}"):
                    self.assertIn(f"| `{variable}` |", text)

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

    def assertRefused(self, why: str, *settings: str) -> None:
        made = self.template(*settings)
        self.assertNotEqual(made.returncode, 0)
        self.assertIn(why, made.stderr)

    @staticmethod
    def mounts(deployment: dict) -> "dict[str, str]":
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        return {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}

    @staticmethod
    def environment(deployment: dict) -> "dict[str, dict]":
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        return {variable["name"]: variable for variable in container["env"]}


if __name__ == "__main__":
    unittest.main(verbosity=2)
