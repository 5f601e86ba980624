"""Kubernetes' Pod Security Standard *restricted*, which includes *baseline*, as one question about a pod.

After https://kubernetes.io/docs/concepts/security/pod-security-standards/, for pods of Linux.
"""

from collections.abc import Callable, Iterator
from typing import Any

Spec = dict[str, Any]

_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
_SELINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
}


def broken_rules(pod: Spec) -> list[str]:
    """The rules that the pod of this `spec` breaks, by the standard's names; none for a pod it admits."""
    return [name for name, kept in _RULES.items() if not kept(pod)]


def containers(pod: Spec) -> list[Spec]:
    """Every container of the pod, those that run before it and those that look into it included."""
    return [one for kind in ("initContainers", "containers", "ephemeralContainers") for one in pod.get(kind, [])]


def _contexts(pod: Spec) -> list[Spec]:
    return [one.get("securityContext", {}) for one in containers(pod)]


def _levels(pod: Spec, key: str) -> Iterator[Any]:
    """What the pod and each of its containers say about `key`, where they say anything."""
    return (context[key] for context in (pod.get("securityContext", {}), *_contexts(pod)) if key in context)


def _effective(pod: Spec, key: str) -> Iterator[Any]:
    """What holds for each container: its own word, or else the pod's."""
    return (context.get(key, pod.get("securityContext", {}).get(key)) for context in _contexts(pod))


def _hooks(pod: Spec) -> Iterator[Spec]:
    for one in containers(pod):
        lifecycle = one.get("lifecycle", {})
        for hook in (
            *(one.get(probe, {}) for probe in ("startupProbe", "livenessProbe", "readinessProbe")),
            *(lifecycle.get(moment, {}) for moment in ("postStart", "preStop")),
        ):
            yield from (hook[how] for how in ("httpGet", "tcpSocket") if how in hook)


def _seccomp(pod: Spec) -> bool:
    profiles = _effective(pod, "seccompProfile")
    return all((profile or {}).get("type") in ("RuntimeDefault", "Localhost") for profile in profiles)


def _selinux(pod: Spec) -> bool:
    return all(
        options.get("type", "") in _SELINUX_TYPES and not options.get("user") and not options.get("role")
        for options in _levels(pod, "seLinuxOptions")
    )


def _capabilities(pod: Spec) -> bool:
    wanted = [context.get("capabilities", {}) for context in _contexts(pod)]
    return all("ALL" in one.get("drop", []) and set(one.get("add", [])) <= {"NET_BIND_SERVICE"} for one in wanted)


_RULES: dict[str, Callable[[Spec], bool]] = {
    "HostProcess": lambda pod: not any(options.get("hostProcess") for options in _levels(pod, "windowsOptions")),
    "Host Namespaces": lambda pod: not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")),
    "Privileged Containers": lambda pod: not any(context.get("privileged") for context in _contexts(pod)),
    "Host Ports": lambda pod: not any(p.get("hostPort") for one in containers(pod) for p in one.get("ports", [])),
    "Host Probes / Lifecycle Hooks": lambda pod: not any(hook.get("host") for hook in _hooks(pod)),
    "AppArmor": lambda pod: all(p["type"] in ("RuntimeDefault", "Localhost") for p in _levels(pod, "appArmorProfile")),
    "SELinux": _selinux,
    "/proc Mount Type": lambda pod: all(context.get("procMount", "Default") == "Default" for context in _contexts(pod)),
    "Sysctls": lambda pod: {one["name"] for one in pod.get("securityContext", {}).get("sysctls", [])} <= _SYSCTLS,
    "Volume Types": lambda pod: all(set(one) - {"name"} <= _VOLUMES for one in pod.get("volumes", [])),
    "Privilege Escalation": lambda pod: all(c.get("allowPrivilegeEscalation") is False for c in _contexts(pod)),
    "Running as Non-root": lambda pod: all(_effective(pod, "runAsNonRoot")),
    "Running as Non-root user": lambda pod: 0 not in _levels(pod, "runAsUser"),
    "Seccomp": _seccomp,
    "Capabilities": _capabilities,
}
