"""Firewall rules: those of the account, also called the global ruleset, and rulesets of a region that a launch attaches."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from gputui.sim.gate import Answer, ApiError, Call
from gputui.sim.lambda_ import render
from gputui.sim.lambda_.data import NO_FIREWALL_REGION
from gputui.sim.lambda_.errors import invalid, missing, quota_exceeded
from gputui.sim.lambda_.fields import body_of, objects, optional_text, region, text
from gputui.sim.lambda_.state import StoredRuleset, Tenant

_PROTOCOLS = ("tcp", "udp", "icmp", "all")
_SSH_PORT = 22


async def list_rules(call: Call, tenant: Tenant) -> Answer:
    return render.ok(tenant.global_rules)


async def replace_rules(call: Call, tenant: Tenant) -> Answer:
    """Serve `PUT /firewall-rules`: the list sent becomes the list there is."""
    body = body_of(call)
    tenant.global_rules = _rules(body, "data")
    apply(tenant)
    return render.ok(tenant.global_rules)


async def get_global(call: Call, tenant: Tenant) -> Answer:
    return render.ok(_global_ruleset(tenant))


async def patch_global(call: Call, tenant: Tenant) -> Answer:
    body = body_of(call)
    if body.get("rules") is not None:
        tenant.global_rules = _rules(body, "rules")
        apply(tenant)
    return render.ok(_global_ruleset(tenant))


async def list_rulesets(call: Call, tenant: Tenant) -> Answer:
    return render.ok([render.ruleset(item, tenant) for item in tenant.rulesets.values()])


async def create_ruleset(call: Call, tenant: Tenant) -> Answer:
    body, world = body_of(call), call.world
    name, region_name, rules = text(body, "name", most=64), region(body, "region"), _rules(body, "rules")
    if len(tenant.rulesets) >= world.faults.number("ruleset_quota"):
        raise quota_exceeded()
    stored = StoredRuleset(world.new_hex(32), name, region_name, rules, world.now_ms())
    tenant.rulesets[stored.id] = stored
    return render.ok(render.ruleset(stored, tenant))


async def get_ruleset(call: Call, tenant: Tenant) -> Answer:
    return render.ok(render.ruleset(_find(call, tenant), tenant))


async def patch_ruleset(call: Call, tenant: Tenant) -> Answer:
    stored, body = _find(call, tenant), body_of(call)
    name = optional_text(body, "name", most=64)
    rules = _rules(body, "rules") if body.get("rules") is not None else stored.rules
    stored.name = stored.name if name is None else name
    stored.rules = rules
    apply(tenant)
    return render.ok(render.ruleset(stored, tenant))


async def delete_ruleset(call: Call, tenant: Tenant) -> Answer:
    stored = _find(call, tenant)
    if any(stored.id in machine.details["ruleset_ids"] for machine in tenant.living()):
        code = "firewall-rulesets/firewall-ruleset-in-use"
        raise ApiError(400, code, "Firewall ruleset is in use by one or more instances.")
    del tenant.rulesets[stored.id]
    return render.ok({})


def apply(tenant: Tenant) -> None:
    """Let SSH through to the account's instances, or not, as their rules are now."""
    for machine in tenant.living():
        rules = list(tenant.global_rules)
        for ruleset_id in machine.details["ruleset_ids"]:
            rules += tenant.rulesets[ruleset_id].rules
        is_open = machine.region == NO_FIREWALL_REGION or any(_opens_ssh(rule) for rule in rules)
        machine.ssh_delay_ms = machine.details["ssh_delay_ms"] if is_open else None


def _opens_ssh(rule: Mapping[str, Any]) -> bool:
    if rule["protocol"] not in ("tcp", "all"):
        return False
    first, last = rule["port_range"]
    return bool(first <= _SSH_PORT <= last)


def _global_ruleset(tenant: Tenant) -> dict[str, Any]:
    return {"id": "global", "name": "Default Workspace Global Rules", "rules": tenant.global_rules}


def _find(call: Call, tenant: Tenant) -> StoredRuleset:
    stored = tenant.rulesets.get(call.path["id"])
    if stored is None:
        raise missing("Firewall ruleset does not exist or you do not have permission to access it.")
    return stored


def _rules(body: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the rules in a required list. Raises ApiError 400."""
    if body.get(name) is None:
        raise invalid(f"{name}: Field required")
    return [_rule(item) for item in objects(body, name)]


def _rule(item: Mapping[str, Any]) -> dict[str, Any]:
    protocol, source = text(item, "protocol"), text(item, "source_network")
    description = text(item, "description", most=128)
    if protocol not in _PROTOCOLS:
        raise invalid("protocol: Input should be 'tcp', 'udp', 'icmp' or 'all'")
    try:
        ipaddress.IPv4Network(source, strict=False)
    except ValueError:
        raise invalid("source_network: Input should be an IPv4 network") from None
    rule: dict[str, Any] = {"protocol": protocol}
    if protocol == "icmp":
        if item.get("port_range") is not None:
            raise invalid("port_range: Must not be specified for icmp")
    else:
        rule["port_range"] = _port_range(item.get("port_range"))
    return {**rule, "source_network": source, "description": description}


def _port_range(value: Any) -> list[int]:
    is_pair = isinstance(value, list) and len(value) == 2
    if not is_pair or not all(type(port) is int and 1 <= port <= 65535 for port in value) or value[0] > value[1]:
        raise invalid("port_range: Input should be two ports from 1 to 65535, the lower one first")
    return list(value)
