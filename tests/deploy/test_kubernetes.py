"""The manifests of k8s/: every overlay is valid, restricted, consistent, and fits the bot that runs in it."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import utils
from manifests import DOCUMENTED, K8S, ROOT, Manifests, Object, made_by
from pod_security import broken_rules, containers

from bot.settings import Settings
from bot.settings_sources import load

OVERLAYS = [f"overlays/{folder.name}" for folder in sorted((K8S / "overlays").iterdir())]
VERSIONS = [version for version in utils.all_versions() if int(version.split(".")[1]) >= 29]
DEFINED_ELSEWHERE = {"ServiceMonitor", "PrometheusRule"}  # by the Prometheus operator, not by Kubernetes
NODE_LOCAL_DNS = "169.254.20.10"
OUTSIDE = "198.51.100.7"
TMP = "/tmp"  # noqa: S108  (inside a pod)
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


@pytest.fixture(scope="module", params=["base", *OVERLAYS, *map(str, range(len(DOCUMENTED)))])
def variation(request: pytest.FixtureRequest) -> str:
    """The base, each overlay, and what a person composes after the documentation."""
    return str(request.param)


@pytest.fixture(scope="module")
def manifests(variation: str) -> Manifests:
    """What one variation makes."""
    return made_by(variation)


@pytest.fixture
def settings(manifests: Manifests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What the bot of this variation loads: the mounted file, the variables of its pod, the secret's files."""
    pod = manifests.pod("recollect")
    assert pod.env["BOT_CONFIG"] == "/etc/recollect/config.toml"
    assert "configMap" in pod.mounts()["/etc/recollect"]
    assert "secret" in pod.mounts()[pod.env["BOT_SECRETS_DIR"]]
    config = tmp_path / "config.toml"
    config.write_text(manifests.named("ConfigMap", "recollect-config")["data"]["config.toml"])
    for key, value in _example_secret()["stringData"].items():
        (tmp_path / key).write_text(value)
    shared = [manifests.of("ConfigMap")[one["configMapRef"]["name"]] for one in pod.container.get("envFrom", [])]
    for values in (*(one["data"] for one in shared), pod.env):
        for name, value in values.items():
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("BOT_CONFIG", str(config))
    monkeypatch.setenv("BOT_SECRETS_DIR", str(tmp_path))
    return load()


@pytest.fixture(scope="module", autouse=True)
def _schemas_are_read_once() -> Iterator[None]:
    """The validator reads a version's definitions, some megabytes, for every object."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "schema_contents", cache(utils.schema_contents))
        yield


_valid: set[tuple[str, str]] = set()  # what the variations share is validated once


def test_each_object_is_valid_in_every_version_of_kubernetes(manifests: Manifests) -> None:
    """The strict schemas of Kubernetes 1.29 to the newest known one accept everything, unknown fields excluded."""
    assert len(VERSIONS) >= 9
    for one in manifests.objects:
        for version in VERSIONS if one["kind"] not in DEFINED_ELSEWHERE else []:
            if (seen := (json.dumps(one, sort_keys=True), version)) not in _valid:
                kubernetes_validate.validate(one, version, strict=True)
                _valid.add(seen)


def test_a_misspelt_field_is_not_valid() -> None:
    """The validation is strict."""
    with pytest.raises(kubernetes_validate.ValidationError, match="automountToken"):
        kubernetes_validate.validate(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}, "automountToken": False},
            VERSIONS[-1],
            strict=True,
        )


def test_the_namespace_holds_every_pod_to_the_restricted_standard(manifests: Manifests) -> None:
    """The namespace enforces it, everything lies in that namespace, and every pod keeps it."""
    (namespace,) = manifests.of("Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {one["metadata"].get("namespace") for one in manifests.objects if one is not namespace} == {
        namespace["metadata"]["name"]
    }
    assert {pod.workload: broken_rules(pod.spec) for pod in manifests.pods if broken_rules(pod.spec)} == {}


def test_each_pod_gets_no_more_than_it_needs(manifests: Manifests) -> None:
    """No token of the API, no variables of other services, a root nobody can write to, a bound on memory."""
    for pod in manifests.pods:
        assert pod.spec["automountServiceAccountToken"] is False, pod.workload
        assert pod.spec["enableServiceLinks"] is False, pod.workload
        for one in containers(pod.spec):
            assert one["securityContext"]["readOnlyRootFilesystem"] is True, pod.workload
            assert one["resources"]["limits"]["memory"], pod.workload
            assert one["resources"]["requests"].keys() >= {"cpu", "memory"}, pod.workload
        assert "emptyDir" in pod.mounts()[TMP], pod.workload


def test_each_image_is_pinned_to_one_version(manifests: Manifests) -> None:
    """Every image names an exact version, and all who use it name the same, Compose included."""
    images = {one["image"] for pod in manifests.pods for one in containers(pod.spec)}
    assert {image.removeprefix("registry.example.com/team/") for image in images} <= _images_of_compose()
    assert all(re.fullmatch(r"[a-z./]+:v?\d+\.\d+\.\d+(-unprivileged)?", image) for image in images), images


def test_whatever_a_pod_names_is_there(manifests: Manifests) -> None:
    """Configuration, claims and accounts exist under the names used; a secret is the documented one with its keys."""
    secret = _example_secret()
    for pod in manifests.pods:
        account = pod.spec.get("serviceAccountName")
        assert account is None or manifests.of("ServiceAccount")[account]["automountServiceAccountToken"] is False
        for volume in pod.spec.get("volumes", []):
            if "configMap" in volume:
                assert volume["configMap"]["name"] in manifests.of("ConfigMap"), pod.workload
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in manifests.claims(), pod.workload
            if "secret" in volume:
                assert volume["secret"]["secretName"] == secret["metadata"]["name"], pod.workload
        for one in containers(pod.spec):
            named = {volume["name"] for volume in pod.spec.get("volumes", [])} | _templated(manifests, pod.workload)
            assert {mount["name"] for mount in one.get("volumeMounts", [])} <= named, pod.workload
            assert {ref["configMapRef"]["name"] for ref in one.get("envFrom", [])} <= set(manifests.of("ConfigMap"))
            for variable in one.get("env", []):
                if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                    assert reference["name"] == secret["metadata"]["name"]
                    assert reference["key"] in secret["stringData"]


def test_no_secret_is_applied(manifests: Manifests) -> None:
    """The example of the secret is a placeholder that no overlay brings."""
    assert manifests.of("Secret") == {}
    assert set(_example_secret()["stringData"].values()) == {"replace-me"}


def test_every_selector_means_a_pod(manifests: Manifests) -> None:
    """Services, budgets, policies, affinities and workloads select pods that exist, a workload its own."""
    for kind in ("Deployment", "StatefulSet"):
        for name, workload in manifests.of(kind).items():
            assert [pod.workload for pod in manifests.selected(workload["spec"]["selector"])] == [f"{kind}/{name}"]
    for name, service in manifests.of("Service").items():
        if "selector" in service["spec"]:
            assert manifests.selected({"matchLabels": service["spec"]["selector"]}), name
    for name, budget in manifests.of("PodDisruptionBudget").items():
        assert len(manifests.selected(budget["spec"]["selector"])) == 1, name
    for name, policy in manifests.of("NetworkPolicy").items():
        for selector in _selectors(policy["spec"]):
            assert manifests.selected(selector), name
    for pod in manifests.pods:
        for selector in _selectors(pod.spec.get("affinity", {})):
            assert manifests.selected(selector), pod.workload


def test_every_port_that_is_asked_is_open(manifests: Manifests) -> None:
    """Whatever serves has all three probes, on a port it has; services lead to ports of the pods they select."""
    for pod in manifests.pods:
        ports = {port["name"] for port in pod.container.get("ports", [])}
        assert {pod.container[probe]["httpGet"]["port"] for probe in PROBES if ports} <= ports, pod.workload
    for service in manifests.of("Service").values():
        if "selector" in service["spec"]:
            for pod in manifests.selected({"matchLabels": service["spec"]["selector"]}):
                wanted = {port["targetPort"] for port in service["spec"]["ports"]}
                assert wanted <= {port["name"] for port in pod.container["ports"]}
    for one in manifests.of("StatefulSet").values():
        assert manifests.of("Service")[one["spec"]["serviceName"]]["spec"]["clusterIP"] == "None"


def test_only_those_talk_who_have_to(manifests: Manifests) -> None:
    """Inside the namespace the bot asks Qdrant and Ollama, a cluster's nodes each other, and nobody anything else."""
    expected = set()
    if "ollama" in manifests.of("Deployment"):
        expected |= {("recollect", "ollama", 11434), ("ollama-pull", "ollama", 11434)}
    if servers := manifests.of("StatefulSet"):
        expected |= {("recollect", "qdrant", 6333)}
        expected |= {("qdrant", "qdrant", 6335)} if servers["qdrant"]["spec"]["replicas"] > 1 else set()
    assert manifests.conversations() == expected


def test_the_way_out_is_https_alone(manifests: Manifests) -> None:
    """The bot and Ollama reach the internet on 443, and nothing inside the network; all resolve names, no more."""
    for pod in manifests.pods:
        out = pod.name in {"recollect", "ollama"}
        assert manifests.reaches(pod.name, OUTSIDE, 443) is out, pod.name
        assert not manifests.reaches(pod.name, OUTSIDE, 80), pod.name
        assert manifests.reaches(pod.name, NODE_LOCAL_DNS, 53), pod.name
        for inside in ("10.96.0.1", "192.168.1.1", "172.20.0.1", "169.254.169.254", "fd00::1"):
            assert not manifests.reaches(pod.name, inside, 443), pod.name


def test_there_is_one_bot(manifests: Manifests) -> None:
    """The data folder has one writer: one replica, never two while it is replaced, and a node can still be drained."""
    bot = manifests.of("Deployment")["recollect"]["spec"]
    assert (bot["replicas"], bot["strategy"]) == (1, {"type": "Recreate"})
    assert manifests.of("PodDisruptionBudget")["recollect"]["spec"]["maxUnavailable"] == 1
    container = manifests.pod("recollect").container
    probes = {name: container[name]["httpGet"]["path"] for name in PROBES}
    assert probes == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}


def test_the_bot_finds_its_settings(manifests: Manifests, settings: Settings) -> None:
    """The mounted file and the variables load, the token comes from the secret, the probes' port is the container's."""
    assert settings.discord.token.get_secret_value() == "replace-me"
    assert [settings.web.port] == [port["containerPort"] for port in manifests.pod("recollect").container["ports"]]
    assert settings.web.host == "0.0.0.0"


def test_all_that_is_kept_lies_on_the_volume(manifests: Manifests, settings: Settings) -> None:
    """The data folder and the journal beside it are inside one mounted claim, and the data folder is not its root."""
    mounts = manifests.pod("recollect").mounts()
    (volume,) = (Path(path) for path, source in mounts.items() if settings.storage.path.is_relative_to(path))
    assert "persistentVolumeClaim" in mounts[str(volume)]
    assert settings.storage.path != volume
    assert settings.journal_path.parent == volume
    for one in (TMP, "/etc/recollect", "/run/secrets"):
        assert not settings.storage.path.is_relative_to(one)


def test_the_bot_is_sent_to_services_that_exist(manifests: Manifests, settings: Settings) -> None:
    """Ollama's and Qdrant's addresses are services of the overlay on ports they have."""
    assert bool(settings.qdrant.url) is bool(manifests.of("StatefulSet"))
    for url in filter(None, (settings.ollama.url, settings.qdrant.url)):
        host, port = url.removeprefix("http://").split(":")
        service = manifests.of("Service")[host]["spec"]
        assert service.get("type") == "ExternalName" or int(port) in {one["port"] for one in service["ports"]}


def test_the_bot_asks_for_the_model_that_is_pulled(manifests: Manifests, settings: Settings) -> None:
    """Wherever Ollama runs here, a Job has it pull the model of the bot's settings."""
    assert len(manifests.of("Job")) == ("ollama" in manifests.of("Deployment"))
    for pull in (pod for pod in manifests.pods if pod.name == "ollama-pull"):
        (source,) = pull.container["envFrom"]
        pulled = manifests.of("ConfigMap")[source["configMapRef"]["name"]]["data"]
        assert pulled["BOT_OLLAMA__MODEL"] == settings.ollama.model
        assert pull.env["OLLAMA_HOST"] == settings.ollama.url


@cache
def _example_secret() -> Object:
    example: Any = yaml.safe_load((K8S / "secret.example.yaml").read_text())
    return dict(example)


@cache
def _images_of_compose() -> set[str]:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    return {one["image"] for one in services.values()}


def _templated(manifests: Manifests, workload: str) -> set[str]:
    kind, name = workload.split("/")
    templates = manifests.of(kind)[name]["spec"].get("volumeClaimTemplates", [])
    return {one["metadata"]["name"] for one in templates}


def _selectors(spec: Any) -> Iterator[Object]:
    """Every label selector in there that means pods of this namespace."""
    if isinstance(spec, dict):
        if "namespaceSelector" not in spec:
            yield from (spec[key] for key in ("podSelector", "labelSelector") if spec.get(key))
            for value in spec.values():
                yield from _selectors(value)
    elif isinstance(spec, list):
        for one in spec:
            yield from _selectors(one)
