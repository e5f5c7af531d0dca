"""The manifests for Kubernetes, as kustomize renders them: schemas, commands, and names of one in another."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.infra.entry_points import INFRA, check_command, documents

KUBERNETES = "1.37"
BASE, SPOT, SMALL = "base", "overlays/spot", "overlays/small"
# Of KubeRay 1.5's RayCluster. Its schema comes with the operator; what that does not know goes in silence.
CLUSTER: dict[str, set[str]] = {
    "authOptions": {"mode"},
    "gcsFaultToleranceOptions": {"redisAddress", "redisPassword"},
    "autoscalerOptions": {"idleTimeoutSeconds"},
    "headGroupSpec": {"rayStartParams", "template"},
}
GROUP = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
Object = dict[str, Any]

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl renders them")
everywhere = pytest.mark.parametrize("place", [BASE, SPOT, SMALL])


@cache
def rendered(place: str) -> list[Object]:
    command = ["kubectl", "kustomize", str(INFRA / "k8s" / place)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


def named(place: str, kind: str) -> dict[str, Object]:
    return {each["metadata"]["name"]: each for each in rendered(place) if each["kind"] == kind}


def groups(place: str) -> list[Object]:
    spec = named(place, "RayCluster")["phreg"]["spec"]
    return [spec["headGroupSpec"], *spec["workerGroupSpecs"]]


def pods(place: str) -> Iterator[tuple[Object, Object]]:
    """(labels, pod spec) of everything that makes pods."""
    for each in rendered(place):
        if each["kind"] in ("StatefulSet", "Deployment"):
            template = each["spec"]["template"]
            yield template["metadata"]["labels"], template["spec"]
    head, *workers = groups(place)
    for kind, group in (("head", head), *(("worker", group) for group in workers)):
        yield {"ray.io/cluster": "phreg", "ray.io/node-type": kind}, group["template"]["spec"]


def references(node: Any, *keys: str) -> set[str]:
    """Names under any of these keys, however deep."""
    if isinstance(node, list):
        return {name for each in node for name in references(each, *keys)}
    if not isinstance(node, dict):
        return set()
    here = {node[key]["name"] for key in keys if key in node}
    return here | {name for each in node.values() for name in references(each, *keys)}


@everywhere
def test_all_of_it_fits_its_schema(place: str) -> None:
    for each in rendered(place):
        assert each["metadata"]["namespace"] == "phreg"
        if each["kind"] != "RayCluster":
            kubernetes_validate.validate(each, KUBERNETES, strict=True)
    for _, spec in pods(place):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    cluster = named(place, "RayCluster")["phreg"]["spec"]
    assert set(cluster) == {"rayVersion", "enableInTreeAutoscaling", "workerGroupSpecs", *CLUSTER}
    assert {section: set(cluster[section]) for section in CLUSTER} == CLUSTER
    assert all(set(group) == GROUP for group in cluster["workerGroupSpecs"])


@everywhere
def test_containers_run_what_our_image_has(place: str) -> None:
    containers = [container for _, spec in pods(place) for container in spec["containers"]]
    for container in containers:
        assert re.fullmatch(r"(phreg|redis):[\w.-]+", container["image"])
        check_command(container.get("command", ["ray", "start"]))  # which KubeRay writes
        check_command(container.get("readinessProbe", {}).get("exec", {}).get("command", ["ray", "start"]))
    dockerfile = (INFRA / "Dockerfile").read_text()
    for image in {container["image"] for container in containers} - {"redis:7.4"}:
        assert f"-t {image} " in dockerfile
    assert all(spec["securityContext"]["runAsNonRoot"] for _, spec in pods(place))


@everywhere
def test_names_are_those_of_what_there_is(place: str) -> None:
    told = re.findall(r"secret generic (\S+)", (INFRA / "k8s/base/kustomization.yaml").read_text())
    known = {*told, "phreg", "phreg-prefect"}  # the one that KubeRay makes; the one that is optional
    specs = [spec for _, spec in pods(place)]
    assert references(specs, "secretRef", "secretKeyRef") <= known
    assert references(specs, "configMapRef") == set(named(place, "ConfigMap")) == {"phreg-prefect"}
    for spec in specs:
        mounted = {m["name"] for container in spec["containers"] for m in container.get("volumeMounts", ())}
        assert mounted <= {"data", *(volume["name"] for volume in spec.get("volumes", ()))}
    cluster = named(place, "RayCluster")["phreg"]["spec"]
    services = named(place, "Service")
    assert cluster["gcsFaultToleranceOptions"]["redisAddress"].partition(":")[0] in services
    selectors = [service["spec"]["selector"] for service in services.values()]
    for policy in named(place, "NetworkPolicy").values():
        rules = [policy["spec"], *(source for rule in policy["spec"]["ingress"] for source in rule["from"])]
        selectors += [rule["podSelector"]["matchLabels"] for rule in rules]
    (admits,) = named(place, "NetworkPolicy")["phreg-redis"]["spec"]["ingress"][0]["from"]
    (nodes,) = admits["podSelector"]["matchExpressions"]  # the latter of KubeRay, when a cluster is deleted
    assert nodes == {"key": "ray.io/node-type", "operator": "In", "values": ["head", "redis-cleanup"]}
    for selector in selectors:
        assert any(selector.items() <= labels.items() for labels, _ in pods(place)), selector


@everywhere
def test_the_cluster_is_our_ray_wants_a_token_and_shrinks_to_nothing(place: str) -> None:
    cluster = named(place, "RayCluster")["phreg"]["spec"]
    assert cluster["rayVersion"] == metadata.version("ray")
    assert cluster["authOptions"] == {"mode": "token"}  # else anybody in the network could run code on it
    assert cluster["enableInTreeAutoscaling"]
    assert all(group["minReplicas"] == 0 for group in cluster["workerGroupSpecs"])


@everywhere
def test_the_prefect_worker_is_as_if_on_the_machine_of_the_head(place: str) -> None:
    spec = groups(place)[0]["template"]["spec"]
    head, worker = spec["containers"]
    assert spec["shareProcessNamespace"]
    assert head["volumeMounts"] == worker["volumeMounts"] == [{"name": "ray-logs", "mountPath": "/tmp/ray"}]
    values = {entry["name"]: entry.get("value") for entry in worker["env"]}
    port = values.pop("PREFECT_WORKER_WEBSERVER_PORT")
    assert values == {"RAY_ADDRESS": "auto", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": None}
    assert worker["livenessProbe"]["httpGet"] == {"path": "/health", "port": int(port)}
    assert port != "8080"  # where KubeRay has Ray's metrics, in the same network


def test_overlays_differ_in_what_they_are_for() -> None:
    spot, small = groups(SPOT)[1]["template"]["spec"], groups(SMALL)[1]["template"]["spec"]
    label, value = next(iter(spot["nodeSelector"].items()))
    assert any(t["key"] == label and t.get("value") == value for t in spot["tolerations"])
    assert "nvidia.com/gpu" in str(spot)
    assert "nvidia.com/gpu" not in str(small)
    assert "prefect-server" in named(SMALL, "Service")
    assert named(SMALL, "ConfigMap")["phreg-prefect"]["data"] == {
        "PREFECT_API_URL": "http://prefect-server:4200/api"
    }


def test_the_job_is_a_command_of_the_cluster() -> None:
    (job,) = documents("k8s", "ray-job.yaml")
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": "phreg"}
    assert job["metadata"]["namespace"] == "phreg"
    check_command(shlex.split(job["spec"]["entrypoint"]))
