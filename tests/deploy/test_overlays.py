"""What each overlay and component of k8s/ is for."""

import json
import os
from pathlib import Path

import yaml
from manifests import K8S, Manifests, made_by, matches, render


def test_embedded_has_no_qdrant() -> None:
    """The overlay without a server has nothing of it left."""
    manifests = made_by("overlays/embedded")
    assert not [one["metadata"]["name"] for one in manifests.objects if "qdrant" in one["metadata"]["name"]]
    assert "BOT_QDRANT__URL" not in manifests.pod("recollect").env


def test_an_external_ollama_is_reached_at_its_address_alone() -> None:
    """A name outside the cluster, and a policy that admits the address it stands for on Ollama's port."""
    manifests = made_by("overlays/ollama-external")
    assert manifests.of("Service")["ollama"]["spec"] == {
        "type": "ExternalName",
        "externalName": "ollama.example.com",
    }
    assert manifests.reaches("recollect", "192.0.2.10", 11434)
    assert not manifests.reaches("recollect", "192.0.2.11", 11434)
    assert not manifests.reaches("qdrant", "192.0.2.10", 11434)


def test_a_gpu_is_asked_for_and_the_model_outlives_the_pod() -> None:
    """One NVIDIA GPU through its runtime, and the models on a claim."""
    ollama = made_by("overlays/ollama-gpu").pod("ollama")
    assert ollama.spec["runtimeClassName"] == "nvidia"
    assert ollama.container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "persistentVolumeClaim" in ollama.mounts()[str(Path(ollama.env["OLLAMA_MODELS"]).parent)]


def test_a_cluster_survives_a_node() -> None:
    """Three nodes on three machines that join through the first one's own name, each memory twice, one away at most."""
    manifests = made_by("overlays/qdrant-cluster")
    cluster, pod = manifests.of("StatefulSet")["qdrant"]["spec"], manifests.pod("qdrant")
    assert cluster["replicas"] == 3
    assert cluster["podManagementPolicy"] == "Parallel"
    assert manifests.of("Service")["qdrant-headless"]["spec"]["publishNotReadyAddresses"] is True
    assert pod.env["QDRANT__CLUSTER__ENABLED"] == "true"
    assert pod.env["QDRANT__STORAGE__COLLECTION__REPLICATION_FACTOR"] == "2"
    assert f"--bootstrap http://qdrant-0.{cluster['serviceName']}:6335" in pod.container["args"][0]
    (apart,) = pod.spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert apart["topologyKey"] == "kubernetes.io/hostname"
    assert matches(apart["labelSelector"], pod.labels)
    assert manifests.of("PodDisruptionBudget")["qdrant"]["spec"]["maxUnavailable"] == 1


def test_on_k3s_every_volume_is_local() -> None:
    """Every claim, a stateful set's included, names K3s's own class."""
    manifests = made_by("overlays/k3s")
    claims = [*manifests.of("PersistentVolumeClaim").values()]
    claims += manifests.of("StatefulSet")["qdrant"]["spec"]["volumeClaimTemplates"]
    assert [claim["spec"]["storageClassName"] for claim in claims] == ["local-path"] * 3


def test_a_backup_is_asked_of_the_running_bot() -> None:
    """The nightly Job runs beside the bot with the bot's volumes at the bot's paths, as the bot's user."""
    manifests = made_by("0")
    bot, backup = manifests.pod("recollect"), manifests.pod("recollect-backup")
    shared = {"/var/lib/recollect", "/var/backups/recollect"}
    assert {path: backup.mounts()[path] for path in shared} == {path: bot.mounts()[path] for path in shared}
    assert backup.env["BOT_STORAGE__PATH"] == bot.env["BOT_STORAGE__PATH"]
    assert backup.spec["securityContext"]["runAsUser"] == bot.spec["securityContext"]["runAsUser"]
    (beside,) = backup.spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert [pod.name for pod in manifests.selected(beside["labelSelector"])] == ["recollect"]


def test_maintenance_leaves_the_volumes_without_a_bot(tmp_path: Path) -> None:
    """The pod sleeps with everything mounted, and no probe takes it down."""
    parts = [os.path.relpath(K8S / part, tmp_path) for part in ("base/bot", "components/maintenance")]
    kustomization = {"resources": parts[:1], "components": parts[1:]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    pod = Manifests(render(tmp_path)).pod("recollect")
    assert pod.container["command"] == ["sleep", "infinity"]
    assert not any("Probe" in key for key in pod.container)
    assert {"/var/lib/recollect", "/run/secrets", "/etc/recollect"} <= pod.mounts().keys()


def test_prometheus_and_grafana_find_what_is_theirs() -> None:
    """The monitor names a service and a port of the bot, from where it may be asked; the dashboard is the file's."""
    manifests = made_by("overlays/observability")
    monitor = manifests.of("ServiceMonitor")["recollect"]["spec"]
    (service,) = (
        one for one in manifests.of("Service").values() if matches(monitor["selector"], one["metadata"]["labels"])
    )
    assert [pod.name for pod in manifests.selected({"matchLabels": service["spec"]["selector"]})] == ["recollect"]
    (endpoint,) = monitor["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == (service["spec"]["ports"][0]["name"], "/metrics")
    (rule,) = manifests.of("NetworkPolicy")["recollect-from-prometheus"]["spec"]["ingress"]
    ports = manifests.pod("recollect").container["ports"]
    assert {port["port"] for port in rule["ports"]} == {port["containerPort"] for port in ports}
    assert manifests.of("PrometheusRule")["recollect"]["spec"]["groups"]
    dashboard = manifests.of("ConfigMap")["recollect-dashboard"]
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(dashboard["data"]["dashboard.json"])["title"]


def test_an_overlay_of_ones_own_is_as_documented() -> None:
    """The kustomizations that the documentation shows bring the image, settings and parts they name."""
    first, second = made_by("0"), made_by("1")
    assert first.named("ConfigMap", "recollect-config")["data"]["config.toml"] == "[retention]\nraw_days = 7\n"
    assert first.named("ConfigMap", "models")["data"] == {"BOT_OLLAMA__MODEL": "qwen3:8b"}
    for name in ("recollect", "recollect-backup"):
        assert first.pod(name).container["image"] == "registry.example.com/team/recollect:0.1.0"
    assert second.of("StatefulSet")["qdrant"]["spec"]["replicas"] == 3
    assert second.of("Service")["ollama"]["spec"]["type"] == "ExternalName"
