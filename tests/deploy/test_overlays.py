"""What each overlay and component of k8s/ is for."""

from pathlib import Path

from manifests import K8S, Manifests, composed, matches


def test_embedded_has_no_qdrant() -> None:
    """The overlay without a server has nothing of it left."""
    manifests = Manifests(K8S / "overlays/embedded")
    assert not [one["metadata"]["name"] for one in manifests.objects if "qdrant" in one["metadata"]["name"]]
    assert "BOT_QDRANT__URL" not in manifests.pod("recollect").env


def test_an_external_ollama_is_reached_at_its_address_alone() -> None:
    """A name outside the cluster, and a policy that admits the address it stands for on Ollama's port."""
    manifests = Manifests(K8S / "overlays/ollama-external")
    assert manifests.of("Service")["ollama"]["spec"] == {
        "type": "ExternalName",
        "externalName": "ollama.example.com",
    }
    assert manifests.reaches("recollect", "192.0.2.10", 11434)
    assert not manifests.reaches("recollect", "192.0.2.11", 11434)
    assert not manifests.reaches("qdrant", "192.0.2.10", 11434)


def test_a_gpu_is_asked_for_and_the_model_outlives_the_pod() -> None:
    """One NVIDIA GPU through its runtime, and the models on a claim."""
    ollama = Manifests(K8S / "overlays/ollama-gpu").pod("ollama")
    assert ollama.spec["runtimeClassName"] == "nvidia"
    assert ollama.container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "persistentVolumeClaim" in ollama.mounts()[str(Path(ollama.env["OLLAMA_MODELS"]).parent)]


def test_a_cluster_survives_a_node() -> None:
    """Three nodes on three machines that join through the first one's own name, each memory twice, one away at most."""
    manifests = Manifests(K8S / "overlays/qdrant-cluster")
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
    manifests = Manifests(K8S / "overlays/k3s")
    claims = [*manifests.of("PersistentVolumeClaim").values()]
    claims += manifests.of("StatefulSet")["qdrant"]["spec"]["volumeClaimTemplates"]
    assert [claim["spec"]["storageClassName"] for claim in claims] == ["local-path"] * 3


def test_a_backup_is_asked_of_the_running_bot(tmp_path: Path) -> None:
    """The nightly Job runs beside the bot with the bot's volumes at the bot's paths, as the bot's user."""
    manifests = Manifests(composed(tmp_path, "components/backup"))
    bot, backup = manifests.pod("recollect"), manifests.pod("recollect-backup")
    shared = {"/var/lib/recollect", "/var/backups/recollect"}
    assert {path: backup.mounts()[path] for path in shared} == {path: bot.mounts()[path] for path in shared}
    assert backup.env["BOT_STORAGE__PATH"] == bot.env["BOT_STORAGE__PATH"]
    assert backup.spec["securityContext"]["runAsUser"] == bot.spec["securityContext"]["runAsUser"]
    (beside,) = backup.spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert [pod.name for pod in manifests.selected(beside["labelSelector"])] == ["recollect"]


def test_maintenance_leaves_the_volumes_without_a_bot(tmp_path: Path) -> None:
    """The pod sleeps with everything mounted, and no probe takes it down."""
    pod = Manifests(composed(tmp_path, "components/backup", "components/maintenance")).pod("recollect")
    assert pod.container["command"] == ["sleep", "infinity"]
    assert not any("Probe" in key for key in pod.container)
    assert {"/var/lib/recollect", "/var/backups/recollect"} <= pod.mounts().keys()
