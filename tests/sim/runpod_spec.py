"""Checks requests and answers against the OpenAPI document that RunPod publishes (2.0.0), as far as that document goes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

# What answers hold that the document does not have: (operation, status, what) -> why the simulator answers so.
FAULTS_OF_THE_FILE: Mapping[tuple[str, int, str], str] = {
    (
        "*",
        403,
        "text/plain",
    ): "Cloudflare blocks some User-Agents in plain text; the document ends at the API behind it",
    ("*", 405, "undocumented"): "the document describes the answer, but no path names it",
    ("GET /v2/pods", 200, "pagination"): "pages came after the saved document",
    ("GET /v2/catalog/gpus", 200, "pagination"): "pages came after the saved document",
    ("GET /v2/catalog/datacenters", 200, "pagination"): "pages came after the saved document",
    ("*", 200, "vcpuCount"): "what a GPU pod has of its host came after the saved document",
    ("*", 200, "memory"): "what a GPU pod has of its host came after the saved document",
    ("*", 200, "cmd"): "a container's command in words came after the saved document",
    ("*", 200, "entrypoint"): "a container's command in words came after the saved document",
}
# What the simulator leaves out: path -> why.
LEFT_OUT: Mapping[str, str] = {
    "/v2/clusters": "clusters are not single machines",
    "/v2/serverless": "workers that come and go with requests are not machines of ours",
    "/v2/templates": "everything in a template can be said when a pod is made",
    "/v2/catalog/templates": "everything in a template can be said when a pod is made",
    "/v2/catalog/cpus": "no GPU",
    "/v2/registries": "private images are not simulated",
    "/v2/billing/serverless": "nothing of it is ever used",
    "/v2/billing/endpoints": "nothing of it is ever used",
    "/v2/billing/clusters": "nothing of it is ever used",
}

_CHECKED_APART = {"type", "properties", "allOf", "anyOf", "if", "then", "unevaluatedProperties"}
_ANNOTATIONS = {"description", "title", "examples", "example", "default", "x-enum-varnames"}
_TYPES: Mapping[str, Any] = {
    "object": dict, "array": list, "string": str, "integer": (int, float), "number": (int, float), "boolean": bool,
    "null": type(None),
}  # fmt: skip


class RunPodSpec:
    """The published document, to check single exchanges against. `used_faults` are the entries of the table that were met."""

    def __init__(self, folder: Path) -> None:
        self.document = json.loads((folder / "runpod-openapi.json").read_text())
        self.used_faults: set[tuple[str, int, str]] = set()

    def operations(self) -> set[str]:
        """Return every documented "METHOD /path" but those left out."""
        return {
            f"{method.upper()} {path}"
            for path, methods in self.document["paths"].items()
            for method in methods
            if method != "parameters" and not path.startswith(tuple(LEFT_OUT))
        }

    def body_problems(self, operation: str, body: Any) -> list[str]:
        """Return what is wrong with a request's JSON."""
        described = self._described(operation)
        return list(self._problems(described["requestBody"]["content"]["application/json"]["schema"], body, "$"))

    def answer_problems(self, operation: str, status: int, headers: Mapping[str, str], body: Any) -> list[str]:
        """Return what is wrong with an answer; `body` is None when there is none, a string when it is no JSON."""
        described = self._described(operation)
        responses = described["responses"] if described else {}
        found = self._resolved(responses.get(str(status)) or responses.get("default") or {})
        kind = headers.get("content-type", "").partition(";")[0]
        problems = [
            f"{operation}: {status}: no header {name}"
            for name in found.get("headers", {})
            if name.lower() not in headers and name != "Retry-After"
        ]
        if not found:
            problems += self._unless_known(operation, status, "undocumented", "is not documented")
        elif "content" not in found:
            problems += [f"{operation}: {status} has a body"] if body is not None else []
        elif kind not in found["content"]:
            problems += self._unless_known(operation, status, kind, f"is {kind}")
            problems = [problem for problem in problems if "no header" not in problem]
        else:
            schema = found["content"][kind]["schema"]
            for problem in self._problems(schema, body, "body"):
                field = problem.rpartition(" has ")[2]
                problems += self._unless_known(operation, status, field, problem)
        return problems

    def _unless_known(self, operation: str, status: int, what: str, problem: str) -> list[str]:
        known = FAULTS_OF_THE_FILE.keys() & {(operation, status, what), ("*", status, what)}
        self.used_faults |= known
        return [] if known else [f"{operation}: {status}: {problem}"]

    def _described(self, operation: str) -> Mapping[str, Any]:
        method, _, path = operation.partition(" ")
        return dict(self.document["paths"][path].get(method.lower(), {}))

    def _problems(self, schema: Mapping[str, Any], value: Any, at: str) -> Iterator[str]:
        yield from self._violations(schema, value, at)
        declared = self._declared(schema)
        if isinstance(value, dict) and declared:
            yield from (f"{at} has {name}" for name in value.keys() - declared)

    def _violations(self, schema: Mapping[str, Any], value: Any, at: str) -> Iterator[str]:
        schema = self._resolved(schema)
        kinds = schema.get("type", [])
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if kinds and not any(_is_of(kind, value) for kind in kinds):
            yield f"{at} is {value!r}, not {kinds}"
            return
        for part in schema.get("allOf", []):
            yield from self._violations(part, value, at)
        if "anyOf" in schema:
            tried = [list(self._problems(option, value, at)) for option in schema["anyOf"]]
            if all(tried):
                yield f"{at} fits none of {len(tried)}: {min(tried, key=len)}"
        if "if" in schema and isinstance(value, dict) and not list(self._violations(schema["if"], value, at)):
            yield from self._violations(schema["then"], value, at)
        if isinstance(value, dict):
            for name, wanted in schema.get("properties", {}).items():
                if name in value:
                    yield from self._problems(wanted, value[name], f"{at}.{name}")
        for keyword, wanted in schema.items():
            if keyword not in _CHECKED_APART | _ANNOTATIONS:
                yield from self._keyword(keyword, wanted, value, at)

    def _keyword(self, keyword: str, wanted: Any, value: Any, at: str) -> Iterator[str]:
        match keyword:
            case "not":
                if not list(self._violations(wanted, value, at)):
                    yield f"{at} is what it must not be"
            case "required" if isinstance(value, dict):
                yield from (f"{at} lacks {name}" for name in wanted if name not in value)
            case "additionalProperties" if isinstance(wanted, dict):
                for name, item in value.items():
                    yield from self._problems(wanted, item, f"{at}.{name}")
            case "items":
                for place, item in enumerate(value):
                    yield from self._problems(wanted, item, f"{at}[{place}]")
            case "format":
                if wanted == "date-time" and value is not None and datetime.fromisoformat(value).tzinfo is None:
                    yield f"{at} is {value!r}, not a {wanted}"
            case _:
                if not _holds(keyword, wanted, value):
                    yield f"{at} is {value!r}, against {keyword} {wanted!r}"

    def _declared(self, schema: Mapping[str, Any]) -> set[str]:
        """Return the names of an object's fields, empty where they are data or not told."""
        schema = self._resolved(schema)
        names = set(schema.get("properties", {}))
        for part in [*schema.get("allOf", []), *schema.get("anyOf", [])]:
            names |= self._declared(part)
        return names

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" not in schema:
            return schema
        found = self.document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return {**self._resolved(found), **{name: value for name, value in schema.items() if name != "$ref"}}


def _is_of(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])


def _holds(keyword: str, wanted: Any, value: Any) -> bool:
    match keyword:
        case "enum":
            return bool(value in wanted)
        case "pattern":
            return re.fullmatch(wanted, value) is not None
        case "minLength" | "minItems" | "minProperties":
            return bool(len(value) >= wanted)
        case "maxItems":
            return bool(len(value) <= wanted)
        case "minimum":
            return bool(value >= wanted)
        case "maximum":
            return bool(value <= wanted)
        case "required":
            return True
        case "additionalProperties":
            return wanted is False
    raise AssertionError(f"the document uses {keyword}, which nobody checks here")
