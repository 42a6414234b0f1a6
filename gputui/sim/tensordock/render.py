"""From what the world knows to the JSON objects of the TensorDock API."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeAlias

from gputui.sim.faults import Faults
from gputui.sim.gate import Answer, ApiError, Keyed
from gputui.sim.lives import Life
from gputui.sim.machine import SimMachine
from gputui.sim.tensordock import knobs
from gputui.sim.tensordock.data import Host, Place, stable_id
from gputui.sim.tensordock.fields import Invalid
from gputui.sim.tensordock.state import Secret, Size, vm_of

SSH_PORT = 22

Amounts: TypeAlias = Callable[[Size], dict[str, Any]]

_CAMEL = {"stoppeddisassociated": "StoppedDisassociated"}
_WORDS = {
    Life.RUNNING: "running",
    Life.OFFLINE: "stopped",
    Life.RELEASED: "stoppeddisassociated",
    Life.ERROR: "error",
    Life.DELETING: "deleting",
}
_WHILE = {"stopping": Life.RUNNING, "starting": Life.OFFLINE}


class InBody(ApiError):
    """A refusal that the knob puts into the body of a 200."""


class V0Refused(ApiError):
    """A refusal in the words of v0."""


def failed_in(faults: Faults) -> Callable[[ApiError], Answer]:
    """Return what turns an error into its answer."""

    def failed(error: ApiError) -> Answer:
        match error:
            case Invalid():
                return Answer(error.issues, error.status)
            case InBody():
                body = {"status": error.status, "error": error.text}
                return Answer(body, 200 if faults.flag(knobs.ERRORS_IN_200) else error.status)
            case V0Refused():
                return Answer({"success": False, "error": error.text}, error.status)
        return Answer({"error": error.text}, error.status)

    return failed


# The market


def location(place: Place, gpus: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": place.id,
        "city": place.city,
        "stateprovince": place.state,
        "country": place.country,
        "tier": place.tier,
        "gpus": gpus,
    }


def listed_gpu(host: Host, most: Size, price_usd: Decimal, *, public_ips: bool) -> dict[str, Any]:
    """Return what a location says of a GPU model."""
    return {
        "v0Name": host.model.id,
        "displayName": host.model.display_name,
        "max_count": most.gpus,
        "price_per_hr": float(price_usd),
        "resources": {
            "max_vcpus": most.vcpus,
            "max_ram_gb": most.ram_gb,
            "max_storage_gb": most.storage_gb,
        },
        "pricing": _component_prices(host.place),
        "network_features": {
            "dedicated_ip_available": public_ips,
            "port_forwarding_available": True,
            "network_storage_available": False,
        },
    }


def listed_amounts(free: Size) -> dict[str, Any]:
    """Return what is free on a host as the list of hosts says it."""
    return {"vcpu_count": free.vcpus, "ram_gb": free.ram_gb, "storage_gb": float(free.storage_gb)}


def single_amounts(free: Size) -> dict[str, Any]:
    """Return what is free on a host as its own view says it."""
    return {"max_vcpus": free.vcpus, "max_ram_gb": free.ram_gb, "max_storage_gb": float(free.storage_gb)}


def hostnode(
    host: Host, amounts: dict[str, Any], gpus: int, price_usd: Decimal, per_gpu: Size, ports: list[int]
) -> dict[str, Any]:
    place = host.place
    return {
        "id": host.id,
        "location_id": place.id,
        "engine": "narwhal",
        "uptime_percentage": host.uptime_percentage,
        "available_resources": {
            "gpus": [{"v0Name": host.model.id, "availableCount": gpus, "price_per_hr": float(price_usd)}],
            **amounts,
            "max_vcpus_per_gpu": per_gpu.vcpus,
            "max_ram_per_gpu": per_gpu.ram_gb,
            "available_ports": ports,
            "has_public_ip_available": host.has_public_ips,
        },
        "pricing": _component_prices(place),
        "location": {
            "uuid": place.id,
            "city": place.city,
            "stateprovince": place.state,
            "country": place.country,
            "has_network_storage": False,
            "network_speed_gbps": place.network_gbps,
            "network_speed_upload_gbps": place.network_gbps,
            "organization": stable_id(f"organization:{place.city}"),
            "organizationName": f"{place.city} Hosting",
            "tier": place.tier,
        },
    }


def _component_prices(place: Place) -> dict[str, float]:
    return {
        "per_vcpu_hr": float(place.usd_per_vcpu),
        "per_gb_ram_hr": float(place.usd_per_gb_ram),
        "per_gb_storage_hr": float(place.usd_per_gb_storage),
    }


# Instances


def status_of(machine: SimMachine, life: Life, faults: Faults, now_ms: int) -> str:
    """Return TensorDock's word for a state, in lower case."""
    if life is Life.DELETING and faults.choice(knobs.DELETING_SHOWS) == "previous":
        life = next(life for _, life in reversed(machine.timeline) if life not in (Life.DELETED, Life.DELETING))
    vm = vm_of(machine)
    if life is _WHILE.get(vm.act) and machine.since_ms(now_ms) <= vm.acted_ms:
        return vm.act
    return _WORDS.get(life) or faults.choice(knobs.CREATE_STATUS)


def written(status: str, faults: Faults) -> str:
    """Return a status as the knob has it written."""
    if faults.choice(knobs.STATUS_CASE) == "lower":
        return status
    return _CAMEL.get(status, status.capitalize())


def instance(machine: SimMachine, status: str, faults: Faults, now_ms: int) -> dict[str, Any]:
    """Return all there is to say of an instance, as its own view does, without an envelope."""
    vm = vm_of(machine)
    size, model = vm.size, vm.host.model
    key = model.display_name if faults.choice(knobs.GPU_KEY) == "display" else model.id
    shown: dict[str, Any] = {
        "type": "virtualmachine",
        "id": machine.id,
        "name": machine.label,
        "status": written(status, faults),
        "resources": {
            "vcpu_count": size.vcpus,
            "ram_gb": size.ram_gb,
            "storage_gb": size.storage_gb,
            "gpus": Keyed({key: {"count": size.gpus, "v0Name": model.id}}),
        },
        "rateHourly": float(machine.price_usd(now_ms)),
        "portForwards": [],
    }
    if vm.gets_address and machine.running_ms(now_ms) is not None:
        shown["ipAddress"] = machine.ip
        shown["portForwards"] = [
            {"internal_port": inside, "external_port": outside} for inside, outside in forwards_of(machine).items()
        ]
    elif (absent := faults.choice(knobs.NEW_ADDRESS_SHOWS)) != "absent":
        shown["ipAddress"] = None if absent == "null" else ""
    return shown


def forwards_of(machine: SimMachine) -> dict[int, int]:
    """Return a machine's forwards, internal to external port; that of SSH leads to where its server really listens."""
    vm = vm_of(machine)
    if machine.ssh_port is None or not (vm.has_dedicated_ip or SSH_PORT in vm.forwards):
        return vm.forwards
    return {**vm.forwards, SSH_PORT: machine.ssh_port}


def listed(shown: dict[str, Any], faults: Faults) -> dict[str, Any]:
    """Return what the list says of an instance."""
    match faults.choice(knobs.LIST_ITEM):
        case "full":
            return shown
        case "brief":
            names = {"id", "name", "status"}
        case _:
            names = {"type", "id", "name", "status", "ipAddress", "portForwards"}
    return {name: value for name, value in shown.items() if name in names}


def instances(items: list[dict[str, Any]], faults: Faults) -> Answer:
    """Return the list of instances in the envelope of the knob."""
    match faults.choice(knobs.LIST_SHAPE):
        case "instances":
            return Answer({"data": {"instances": [_resource(item, "VM") for item in items]}})
        case "attributes":
            nested = [_resource(item, "VM") for item in items]
            return Answer({"data": {"type": "list", "id": "instances", "attributes": {"instances": nested}}})
    return Answer({"data": items})


def single(shown: dict[str, Any], faults: Faults) -> Answer:
    """Return one instance in the envelope of the knob."""
    match faults.choice(knobs.SINGLE_SHAPE):
        case "data":
            return Answer({"data": shown})
        case "attributes":
            return Answer({"data": _resource(shown, "virtualmachine")})
    return Answer(shown)


def created(machine: SimMachine, faults: Faults) -> Answer:
    """Return create's answer, which says nothing of addresses and ports."""
    status = written(faults.choice(knobs.CREATE_STATUS), faults)
    shown = {"type": "virtualmachine", "id": machine.id, "name": machine.label, "status": status}
    body = {"data": shown} if faults.choice(knobs.CREATE_SHAPE) == "data" else shown
    return Answer(body, int(faults.choice(knobs.CREATE_CODE)))


def acted(machine: SimMachine, status: str, faults: Faults) -> Answer:
    """Return the answer of a start or a stop."""
    attributes = {"status": written(status, faults)}
    return Answer({"data": {"type": "instance", "id": machine.id, "attributes": attributes}})


def deleted(faults: Faults) -> Answer:
    if faults.choice(knobs.DELETE_ANSWER) == "empty":
        return Answer(None, 204)
    attributes = {"message": "Instance deleted successfully"}
    return Answer({"data": {"type": "success", "attributes": attributes}})


def _resource(item: dict[str, Any], kind: str) -> dict[str, Any]:
    attributes = {name: value for name, value in item.items() if name not in ("type", "id")}
    return {"type": kind, "id": item["id"], "attributes": attributes}


# Secrets


def listed_secret(secret: Secret) -> dict[str, Any]:
    return {"type": secret.kind, "id": secret.id, "name": secret.name}


def stored_secret(secret: Secret) -> dict[str, Any]:
    return {"type": "secret", "id": secret.id, "name": secret.name}


def single_secret(secret: Secret) -> dict[str, Any]:
    value = {} if secret.kind == "SECRET" else {"value": secret.value}
    return {**stored_secret(secret), **value}
