"""Kubernetes' Pod Security Standard *restricted*, control by control.

The code by which API servers judge it (k8s.io/pod-security-admission) is in no package of Debian,
PyPI or npm, so these are the controls as the standard's page lists them, at its latest version:
https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

Pod = Mapping[str, Any]

VOLUMES: Final = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image"),
    *("persistentVolumeClaim", "projected", "secret"),
}
SYSCTLS: Final = {
    *("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range"),
    *("net.ipv4.ip_unprivileged_port_start", "net.ipv4.tcp_syncookies"),
    *("net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports"),
    *("net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout"),
    *("net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes"),
}
PROFILES: Final = ("RuntimeDefault", "Localhost")
SELINUX_TYPES: Final = (
    "",
    "container_t",
    "container_init_t",
    "container_kvm_t",
    "container_engine_t",
)
APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"


def violations(pod: Pod) -> list[str]:
    """Every control of *restricted* that a pod, or the template of one, breaks, and where."""
    spec, annotations = pod["spec"], pod.get("metadata", {}).get("annotations", {})
    return [*_of_pod(spec, annotations), *_of_containers(spec)]


def _of_pod(spec: Mapping[str, Any], annotations: Mapping[str, str]) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"host namespaces: {field}"
    for volume in spec.get("volumes", ()):
        for kind in volume.keys() - {"name"} - VOLUMES:
            yield f"volume types: {kind}"
    for key, value in annotations.items():
        if key.startswith(APPARMOR) and not value.startswith(("runtime/default", "localhost/")):
            yield f"AppArmor: {key}"
    for sysctl in spec.get("securityContext", {}).get("sysctls", ()):
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctls: {sysctl['name']}"
    yield from _of_context(spec.get("securityContext", {}), "pod")


def _of_containers(spec: Mapping[str, Any]) -> Iterator[str]:
    pod = spec.get("securityContext", {})
    fields: Sequence[str] = ("initContainers", "containers", "ephemeralContainers")
    for container in [each for field in fields for each in spec.get(field, ())]:
        name, own = container["name"], container.get("securityContext", {})
        yield from _of_context(own, name)
        if own.get("allowPrivilegeEscalation") is not False:
            yield f"privilege escalation: {name}"
        if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
            yield f"running as non-root: {name}"
        profile = own.get("seccompProfile", pod.get("seccompProfile", {})).get("type")
        if profile not in PROFILES:
            yield f"seccomp: {name}"
        capabilities = own.get("capabilities", {})
        if "ALL" not in capabilities.get("drop", ()):
            yield f"capabilities: {name} does not drop ALL"
        for added in set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
            yield f"capabilities: {name} adds {added}"
        for port in container.get("ports", ()):
            if port.get("hostPort"):
                yield f"host ports: {name}"
        probes = [
            container.get(f"{each}Probe", {}) for each in ("liveness", "readiness", "startup")
        ]
        for probe in [*probes, *container.get("lifecycle", {}).values()]:
            if any(probe.get(how, {}).get("host") for how in ("httpGet", "tcpSocket")):
                yield f"host probes: {name}"


def _of_context(context: Mapping[str, Any], where: str) -> Iterator[str]:
    if context.get("privileged"):
        yield f"privileged: {where}"
    if context.get("runAsUser") == 0:
        yield f"running as user 0: {where}"
    if context.get("runAsNonRoot") is False:
        yield f"running as non-root: {where}"
    if context.get("procMount", "Default") != "Default":
        yield f"/proc mount: {where}"
    if context.get("seccompProfile", {}).get("type", PROFILES[0]) not in PROFILES:
        yield f"seccomp: {where}"
    if context.get("appArmorProfile", {}).get("type", PROFILES[0]) not in PROFILES:
        yield f"AppArmor: {where}"
    options = context.get("seLinuxOptions", {})
    if options.get("type", "") not in SELINUX_TYPES or options.get("user") or options.get("role"):
        yield f"SELinux: {where}"
    if context.get("windowsOptions", {}).get("hostProcess"):
        yield f"host process: {where}"
