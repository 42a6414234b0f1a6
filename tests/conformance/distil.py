"""Reduces the OpenAPI files that providers publish to the machine facts that the conformance tests need.

    python tests/conformance/distil.py FOLDER      # with lambda-openapi.json, runpod-openapi.json, vastai-openapi.yaml

What is kept of the paths below: methods, parameters, bodies and answers as schemas. All words for people go.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

FACTS = Path(__file__).parent / "facts"
FILES: Mapping[str, str] = {
    "lambda": "lambda-openapi.json",
    "runpod": "runpod-openapi.json",
    "vastai": "vastai-openapi.yaml",
}
# What a client or a simulator of ours speaks. Serverless, clusters, templates, teams, tickets and what hosts need are none
# of our business.
PATHS: Mapping[str, tuple[str, ...]] = {
    "lambda": (
        "/api/v1/audit-events",
        "/api/v1/file-systems",
        "/api/v1/filesystems",
        "/api/v1/filesystems/{id}",
        "/api/v1/firewall-rules",
        "/api/v1/firewall-rulesets",
        "/api/v1/firewall-rulesets/global",
        "/api/v1/firewall-rulesets/{id}",
        "/api/v1/images",
        "/api/v1/instance-operations/launch",
        "/api/v1/instance-operations/restart",
        "/api/v1/instance-operations/terminate",
        "/api/v1/instance-types",
        "/api/v1/instances",
        "/api/v1/instances/{id}",
        "/api/v1/regions",
        "/api/v1/ssh-keys",
        "/api/v1/ssh-keys/{id}",
    ),
    "runpod": (
        "/v2/account/ssh-keys",
        "/v2/billing",
        "/v2/billing/network-volumes",
        "/v2/billing/pods",
        "/v2/catalog/datacenters",
        "/v2/catalog/datacenters/{id}",
        "/v2/catalog/gpus",
        "/v2/catalog/gpus/{id}",
        "/v2/network-volumes",
        "/v2/network-volumes/{id}",
        "/v2/pods",
        "/v2/pods/{id}",
        "/v2/pods/{id}/action",
        "/v2/pods/{id}/logs",
    ),
    "vastai": (
        "/api/v0/asks/{id}",
        "/api/v0/auth/apikeys",
        "/api/v0/auth/apikeys/{id}",
        "/api/v0/bundles",
        "/api/v0/charges",
        "/api/v0/instances/bid_price/{id}",
        "/api/v0/instances/reboot/{id}",
        "/api/v0/instances/recycle/{id}",
        "/api/v0/instances/request_logs/{id}",
        "/api/v0/instances/{id}",
        "/api/v0/instances/{id}/ssh",
        "/api/v0/instances/{id}/ssh/{ssh_key_id}",
        "/api/v0/ssh",
        "/api/v0/ssh/{id}",
        "/api/v0/users/current",
        "/api/v0/volumes",
        "/api/v0/volumes/search",
        "/api/v1/instances",
        "/api/v1/invoices",
    ),
}
_METHODS = frozenset({"get", "put", "post", "patch", "delete"})
_WORDS = frozenset({"description", "title", "example", "examples", "default", "summary", "discriminator", "writeOnly"})
_REF = "#/components/"
# paths, then one path, then its methods; components, then one kind, then its names
LINES_AT = 3


def published(provider: str, folder: Path) -> dict[str, Any]:
    """Return a provider's OpenAPI document as it is published."""
    text = (folder / FILES[provider]).read_text()
    document: dict[str, Any] = json.loads(text) if text.startswith("{") else yaml.load(text, Loader=yaml.CSafeLoader)
    return document


def distilled(document: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """Return the facts of some paths and of the components that they refer to, in the shape of an OpenAPI document."""
    facts: dict[str, Any] = {
        "openapi": document["openapi"],
        "info": {"version": document["info"]["version"]},
        "paths": {path: _path(document["paths"][path]) for path in paths},
        "components": {"securitySchemes": _schemes(document)},
    }
    waiting = _references(facts)
    while waiting:
        kind, name = waiting.pop().removeprefix(_REF).split("/")
        kept = facts["components"].setdefault(kind, {})
        if name not in kept:
            kept[name] = _COMPONENTS[kind](document["components"][kind][name])
            waiting |= _references(kept[name])
    return facts


def _path(item: Mapping[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {method: _operation(item[method]) for method in sorted(_METHODS & item.keys())}
    return facts | ({"parameters": [_parameter(one) for one in item["parameters"]]} if "parameters" in item else {})


def _operation(operation: Mapping[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {"responses": {status: _answer(one) for status, one in operation["responses"].items()}}
    if operation.get("parameters"):
        facts["parameters"] = [_parameter(one) for one in operation["parameters"]]
    if "requestBody" in operation:
        facts["requestBody"] = _picked(operation["requestBody"], "required") | _content(operation["requestBody"])
    return facts


def _parameter(parameter: Mapping[str, Any]) -> dict[str, Any]:
    facts = _picked(parameter, "$ref", "name", "in", "required", "style", "explode")
    return facts | ({"schema": _schema(parameter["schema"])} if "schema" in parameter else {})


def _answer(answer: Mapping[str, Any]) -> dict[str, Any]:
    facts = _picked(answer, "$ref") | _content(answer)
    headers = {name: _parameter(one) for name, one in answer.get("headers", {}).items()}
    return facts | ({"headers": headers} if headers else {})


def _content(holder: Mapping[str, Any]) -> dict[str, Any]:
    if "content" not in holder:
        return {}
    return {"content": {kind: {"schema": _body(one)} for kind, one in holder["content"].items()}}


def _body(media: Mapping[str, Any]) -> Any:
    """Return the schema of a body. A list of objects whose members only its example tells has those members."""
    schema, example = _schema(media["schema"]), media.get("example")
    for name, listed in schema.get("properties", {}).items() if isinstance(example, dict) else ():
        told = example.get(name)
        if listed.get("items") == {"type": "object", "additionalProperties": True} and isinstance(told, dict):
            listed["items"]["properties"] = {member: {} for member in told}
    return schema


def _schema(schema: Any) -> Any:
    """Return a schema without words; property names that look like words stay."""
    if not isinstance(schema, dict):
        return schema
    facts: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in _WORDS or keyword.startswith("x-"):
            continue
        if keyword == "properties":
            facts[keyword] = {name: _schema(one) for name, one in value.items()}
        elif keyword in ("allOf", "anyOf", "oneOf"):
            facts[keyword] = [_schema(one) for one in value]
        else:
            facts[keyword] = _schema(value)
    return facts


def _schemes(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _picked(one, "type", "scheme") for name, one in document["components"]["securitySchemes"].items()}


_COMPONENTS: Mapping[str, Any] = {
    "schemas": _schema,
    "responses": _answer,
    "headers": _parameter,
    "parameters": _parameter,
}


def _picked(item: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: item[name] for name in names if name in item}


def _references(facts: Any) -> set[str]:
    if isinstance(facts, list):
        return set().union(*map(_references, facts))
    if not isinstance(facts, dict):
        return set()
    found = {facts["$ref"]} if isinstance(facts.get("$ref"), str) else set()
    return found.union(*map(_references, facts.values()))


def as_text(facts: Any, *, depth: int = LINES_AT) -> str:
    """Return facts as they are committed: a line per operation and component, so that differences can be read."""
    if not depth or not isinstance(facts, dict):
        return json.dumps(facts, sort_keys=True, separators=(",", ":"))
    members = (f"{json.dumps(name)}: {as_text(value, depth=depth - 1)}" for name, value in sorted(facts.items()))
    return "{\n" + ",\n".join(members) + "\n}" + "\n" * (depth == LINES_AT)


def main(folder: Path) -> None:
    for provider, paths in PATHS.items():
        text = as_text(distilled(published(provider, folder), paths))
        (FACTS / f"{provider}.json").write_text(text)
        print(f"{provider}: {len(text) / 1024:.0f} KiB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
