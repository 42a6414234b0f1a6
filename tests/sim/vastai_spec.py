"""Checks answers against the OpenAPI document that Vast.ai publishes (1.0.0 of August 2026), as far as that document goes.

The document is kept by hand and wrong in places; where the simulator differs, the table says on what ground.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

_ONE = "/api/v0/instances/{id}"
_PRESENT = "present only when it is not null, as its own description says"
_NULL = "null where there is none, seen live"

# What the document gets wrong or leaves out: (operation, status, where) -> why the simulator answers otherwise.
# `where` is the place in the answer, "*" for the answer or its status as a whole.
FAULTS_OF_THE_FILE: Mapping[tuple[str, int, str], str] = {
    (f"DELETE {_ONE}", 200, "$.msg"): "described as optional; answers seen live have `success` alone",
    (
        f"GET {_ONE}",
        200,
        "$.instances",
    ): "null for an instance that is not there, seen live and handled by the own client",
    (f"GET {_ONE}", 200, "$.instances.ports"): "an object from container port to host ports, seen live and in the list",
    (f"GET {_ONE}", 200, "$.instances.extra_env[]"): "pairs of name and value, seen live",
    ("GET /api/v1/instances", 200, "$.instances[].onstart"): _NULL,
    (
        "GET /api/v0/auth/apikeys",
        200,
        "$.apikeys[].rights",
    ): "the permissions themselves, as they were given at creation",
    ("GET /api/v0/auth/apikeys", 200, "$.apikeys[].team_id"): _NULL,
    ("GET /api/v0/auth/apikeys", 200, "$.apikeys[].team_name"): _NULL,
    ("GET /api/v0/charges", 200, "$.results[].metadata.template_id"): _PRESENT,
    ("GET /api/v0/charges", 200, "$.results[].metadata.endpoint_id"): _PRESENT,
    ("GET /api/v0/charges", 200, "$.results[].metadata.workergroup_id"): _PRESENT,
    ("POST /api/v0/volumes/search", 200, "$.offers[].geolocode"): "a number in every offer seen live",
    ("POST /api/v0/volumes/search", 200, "$.offers[].vericode"): "a number in every offer seen live",
    ("POST /api/v0/volumes/search", 200, "$.offers[].driver_vers"): "a number in every offer seen live",
    ("GET /api/v0/ssh", 401, "*"): "documented without a body; a key of nobody is answered alike everywhere",
}

_REF = re.compile(r"#/components/schemas/(\w+)")


class VastSpec:
    """The published document, to check single answers against. `used_faults` are the entries of the table that were met."""

    def __init__(self, folder: Path) -> None:
        self._document = yaml.safe_load((folder / "vastai-openapi.yaml").read_text())
        self.used_faults: set[tuple[str, int, str]] = set()

    def operation(self, method: str, path: str) -> str | None:
        """Return "METHOD /api/v0/path/{template}" of a request, None where the document has none."""
        wanted = path.rstrip("/")
        exact = [item for item in self._document["paths"] if item == wanted]
        fitting = [item for item in self._document["paths"] if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", item), wanted)]
        found = (exact + fitting)[:1]
        known = found and method.lower() in self._document["paths"][found[0]]
        return f"{method} {found[0]}" if known else None

    def fields_of_an_offer(self) -> set[str]:
        """Return the members of the offer in the search's example, whose schema names none."""
        answer = self._document["paths"]["/api/v0/bundles"]["post"]["responses"]["200"]
        return set(answer["content"]["application/json"]["example"]["offers"])

    def problems(self, operation: str, status: int, body: Any) -> list[str]:
        """Return what is wrong with an answer beyond the table; `body` is the JSON, or text where it is none."""
        found = []
        for where, problem in self._against_document(operation, status, body):
            entry = (operation, status, where)
            if entry in FAULTS_OF_THE_FILE:
                self.used_faults.add(entry)
            else:
                found.append(f"{operation} {status} {where}: {problem}")
        return found

    def _against_document(self, operation: str, status: int, body: Any) -> Iterator[tuple[str, str]]:
        method, _, path = operation.partition(" ")
        responses = self._document["paths"][path][method.lower()]["responses"]
        if str(status) not in responses:
            yield "*", "the status is not documented"
            return
        content = responses[str(status)].get("content", {}).get("application/json")
        if content is None:
            yield "*", "no JSON is documented"
            return
        schema = {**content["schema"], "components": self._document["components"]}
        for error in jsonschema.Draft202012Validator(schema).iter_errors(body):
            yield re.sub(r"\[\d+\]", "[]", error.json_path), error.message
        if status == 200:
            yield from self._missing(schema, body, "$")

    def _missing(self, schema: Mapping[str, Any], value: Any, at: str) -> Iterator[tuple[str, str]]:
        """Yield the documented members that an answer lacks, although the document requires none."""
        if reference := _REF.fullmatch(schema.get("$ref", "")):
            schema = self._document["components"]["schemas"][reference[1]]
        if isinstance(value, dict):
            for name, inner in schema.get("properties", {}).items():
                if name not in value:
                    yield f"{at}.{name}", "missing"
                else:
                    yield from self._missing(inner, value[name], f"{at}.{name}")
        elif isinstance(value, list) and value and isinstance(schema.get("items"), dict):
            yield from self._missing(schema["items"], value[0], f"{at}[]")
