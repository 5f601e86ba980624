"""The rules that the pods are held to, each shown to find what it forbids."""

from copy import deepcopy
from typing import Any

import pytest
from pod_security import Spec, broken_rules

ADMITTED: Spec = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "one",
            "ports": [{"containerPort": 80}],
            "livenessProbe": {"httpGet": {"port": 80}},
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
    "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
}
CONTAINER = ("containers", 0)
CONTEXT = (*CONTAINER, "securityContext")

BROKEN: list[tuple[str, tuple[str | int, ...], Any]] = [
    ("HostProcess", (*CONTEXT, "windowsOptions"), {"hostProcess": True}),
    ("Host Namespaces", ("hostNetwork",), True),
    ("Host Namespaces", ("hostPID",), True),
    ("Host Namespaces", ("hostIPC",), True),
    ("Privileged Containers", (*CONTEXT, "privileged"), True),
    ("Host Ports", (*CONTAINER, "ports", 0, "hostPort"), 80),
    ("Host Probes / Lifecycle Hooks", (*CONTAINER, "livenessProbe", "httpGet", "host"), "10.0.0.1"),
    ("AppArmor", (*CONTEXT, "appArmorProfile"), {"type": "Unconfined"}),
    ("SELinux", (*CONTEXT, "seLinuxOptions"), {"type": "spc_t"}),
    ("/proc Mount Type", (*CONTEXT, "procMount"), "Unmasked"),
    ("Sysctls", ("securityContext", "sysctls"), [{"name": "kernel.msgmax", "value": "1"}]),
    ("Volume Types", ("volumes", 0), {"name": "data", "hostPath": {"path": "/"}}),
    ("Privilege Escalation", (*CONTEXT, "allowPrivilegeEscalation"), True),
    ("Privilege Escalation", CONTEXT, {"capabilities": {"drop": ["ALL"]}}),
    ("Running as Non-root", (*CONTEXT, "runAsNonRoot"), False),
    ("Running as Non-root", ("securityContext",), {"seccompProfile": {"type": "RuntimeDefault"}}),
    ("Running as Non-root user", (*CONTEXT, "runAsUser"), 0),
    ("Seccomp", (*CONTEXT, "seccompProfile"), {"type": "Unconfined"}),
    ("Seccomp", ("securityContext",), {"runAsNonRoot": True}),
    ("Capabilities", (*CONTEXT, "capabilities"), {"drop": ["NET_RAW"]}),
    ("Capabilities", (*CONTEXT, "capabilities", "add"), ["SYS_ADMIN"]),
]


def test_a_restricted_pod_is_admitted() -> None:
    """A pod that asks for nothing breaks no rule."""
    assert broken_rules(ADMITTED) == []


@pytest.mark.parametrize(("rule", "path", "value"), BROKEN)
def test_each_rule_finds_what_it_forbids(rule: str, path: tuple[str | int, ...], value: object) -> None:
    """One change that a rule forbids breaks that rule and no other."""
    pod: Any = deepcopy(ADMITTED)
    *way, last = path
    place = pod
    for step in way:
        place = place[step]
    place[last] = value
    assert broken_rules(pod) == [rule]


def test_a_container_that_runs_before_the_others_is_held_to_the_same() -> None:
    """An init container that may become root is found."""
    assert broken_rules(ADMITTED | {"initContainers": [{"name": "chown", "securityContext": {"runAsUser": 0}}]}) == [
        "Privilege Escalation",
        "Running as Non-root user",
        "Capabilities",
    ]
