"""The request bodies that RunPod's OpenAPI document describes, and the fields that came a month later."""

from __future__ import annotations

from typing import Any

from gputui.sim.runpod.data import CLOUDS, HIGH_PERFORMANCE, STANDARD
from gputui.sim.runpod.schema import Check, fields, flag, items, mapping, one_of, or_null, text, whole

_CUDA = text(pattern=r"^\d+\.\d+$")
_SIZE = whole(10, 4096)

_PERSISTENT = fields(("size", "path"), {"size": whole(10), "path": text()})
_NETWORK = fields(("volumeId", "path"), {"volumeId": text(), "path": text()})
_MOUNTS = fields((), {"persistent": _PERSISTENT, "network": items(_NETWORK, most=1)})
_CONTAINER: dict[str, Check] = {
    "image": text(),
    "args": text(),
    "disk": whole(1),
    "env": mapping(text()),
    "ports": items(text()),
    "registry": or_null(text()),
}
_GPU: dict[str, Check] = {
    "id": text(),
    "count": whole(1),
    "allowedCudaVersions": items(_CUDA),
    "minCudaVersion": _CUDA,
}
_POD: dict[str, Check] = {
    "name": text(1),
    "cloud": one_of(*CLOUDS),
    "cpu": fields(("id", "vcpuCount"), {"id": text(1), "vcpuCount": whole(2)}),
    "dataCenterIds": items(text()),
    "globalNetworking": flag,
    "mounts": _MOUNTS,
    "startJupyter": flag,
    "startSsh": flag,
    "templateId": text(1),
}
_CHANGES: dict[str, Check] = {
    "globalNetworking": flag,
    "locked": flag,
    "mounts": _MOUNTS,
    "name": text(1),
    "templateId": text(),
}
_SEPTEMBER_CONTAINER: dict[str, Check] = {"cmd": items(text()), "entrypoint": items(text())}
_SEPTEMBER_GPU: dict[str, Check] = {"minRamPerGpu": whole(1), "minVcpuCountPerGpu": whole(1)}

POD_ACTION = fields(("action",), {"action": one_of("start", "stop", "restart", "terminate")})
SSH_KEYS = fields(("keys",), {"keys": items(text(pattern=r"^(ssh|ecdsa|sk)-[^\s]+ [^\s]+([ \t][^\n\r]*)?$"))})
CREATE_VOLUME = fields(
    ("name", "size", "dataCenter"),
    {"name": text(1), "size": _SIZE, "dataCenter": text(1), "type": one_of(STANDARD, HIGH_PERFORMANCE)},
)
UPDATE_VOLUME = fields((), {"name": text(1), "size": _SIZE}, least=1)


def create_pod(api: str) -> Check:
    """Return the check of a body that makes a pod, for an API of "august" or "september"."""
    later = api == "september"
    container = _CONTAINER | (_SEPTEMBER_CONTAINER if later else {})
    gpu = fields(("id",), _GPU | (_SEPTEMBER_GPU if later else {}))
    wanted = fields(("name",), {**container, **_POD, "gpu": gpu})

    def check(value: Any, at: str) -> list[str]:
        issues = wanted(value, at)
        if isinstance(value, dict) and "templateId" not in value and "image" not in value:
            issues.append(f"{at}: missing property 'image'")
        return issues

    return check


def update_pod(api: str) -> Check:
    """Return the check of a body that changes a pod, for an API of "august" or "september"."""
    later = api == "september"
    return fields((), {**_CONTAINER, **(_SEPTEMBER_CONTAINER if later else {}), **_CHANGES})
