"""Checks answers against the OpenAPI document that Lambda publishes (1.10.0), as far as that document goes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

# What the document gets wrong or leaves out: (method and path, status, error code) -> why the simulator answers so.
FAULTS_OF_THE_FILE: Mapping[tuple[str, int, str | None], str] = {
    ("*", 403, None): "the edge blocks User-Agents in plain text; the document ends at the API behind it",
    ("*", 405, None): "clients report 405 for a wrong method; the document does not name it",
    ("*", 429, None): "the rate limit is in the prose only, and its answer is the edge's plain text",
    ("*", 500, "global/internal-error"): "no 5xx is documented; the code is, under 409 of the firewall rulesets alone",
    ("*", 503, "provider/internal-unavailable"): "clients match codes that begin with provider/; none is documented",
    ("POST /instance-operations/launch", 500, "global/unknown"): "seen live for two keys of one name, not documented",
    (
        "DELETE /ssh-keys/{id}",
        400,
        "ssh-keys/key-in-use",
    ): "documented until 1.5.3, gone since though never said withdrawn",
}
# What the simulator leaves out: path -> why.
LEFT_OUT: Mapping[str, str] = {
    "/tickets": "support tickets have nothing to do with GPUs",
    "/fabric": "fabric partitions are probably withdrawn",
}

_ANNOTATIONS = {"description", "title", "example", "examples", "default", "writeOnly", "type"}
_TYPES: Mapping[str, Any] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
}  # fmt: skip


class LambdaSpec:
    """The published document, to check single answers against. `used_faults` are the entries of the table that were met."""

    def __init__(self, folder: Path) -> None:
        self._document = json.loads((folder / "lambda-openapi.json").read_text())
        self.used_faults: set[tuple[str, int, str | None]] = set()

    def operations(self) -> set[str]:
        """Return every documented "METHOD /path" but those left out."""
        return {
            f"{method.upper()} {path.removeprefix('/api/v1')}"
            for path, methods in self._document["paths"].items()
            for method in methods
            if not path.removeprefix("/api/v1").startswith(tuple(LEFT_OUT))
        }

    def problems(self, operation: str, status: int, body: Any) -> list[str]:
        """Return what is wrong with an answer of "METHOD /path/{template}"; `body` is None when it is no JSON."""
        code = body["error"].get("code") if isinstance(body, dict) and isinstance(body.get("error"), dict) else None
        found = self._against_document(operation, status, body)
        faults = FAULTS_OF_THE_FILE.keys() & {(operation, status, code), ("*", status, code)}
        self.used_faults |= faults
        if faults:
            return [] if found else [f"{operation}: {status} {code} is documented after all"]
        return found

    def _against_document(self, operation: str, status: int, body: Any) -> list[str]:
        method, _, path = operation.partition(" ")
        described = self._document["paths"][f"/api/v1{path}"].get(method.lower())
        if described is None or str(status) not in described["responses"]:
            return [f"{operation}: {status} is not documented"]
        schema = described["responses"][str(status)]["content"]["application/json"]["schema"]
        return [f"{operation}: {status}: {problem}" for problem in self._problems(schema, body, "body")]

    def _problems(self, schema: Mapping[str, Any], value: Any, at: str) -> Iterator[str]:
        if "$ref" in schema:
            yield from self._problems(self._resolved(schema["$ref"]), value, at)
            return
        if "anyOf" in schema:
            tried = [list(self._problems(option, value, at)) for option in schema["anyOf"]]
            if all(tried):
                yield f"{at} fits none of {len(tried)}: {min(tried, key=len)}"
        if "type" in schema and not _is_of(schema["type"], value):
            yield f"{at} is {value!r}, not {schema['type']}"
            return
        for keyword, wanted in schema.items():
            if keyword not in _ANNOTATIONS | {"anyOf"}:
                yield from self._keyword(keyword, wanted, schema, value, at)

    def _keyword(self, keyword: str, wanted: Any, schema: Mapping[str, Any], value: Any, at: str) -> Iterator[str]:
        match keyword:
            case "properties":
                for name in wanted.keys() & value.keys():
                    yield from self._problems(wanted[name], value[name], f"{at}.{name}")
            case "required":
                yield from (f"{at} has no {name}" for name in wanted if name not in value)
            case "additionalProperties":
                for name in value.keys() - schema.get("properties", {}).keys():
                    if wanted is False:
                        yield f"{at} has {name}"
                    elif wanted is not True:
                        yield from self._problems(wanted, value[name], f"{at}.{name}")
            case "items":
                for place, item in enumerate(value):
                    yield from self._problems(wanted, item, f"{at}[{place}]")
            case "format":
                if not _has_format(wanted, value):
                    yield f"{at} is {value!r}, not a {wanted}"
            case _:
                if not _holds(keyword, wanted, value):
                    yield f"{at} is {value!r}, against {keyword} {wanted!r}"

    def _resolved(self, reference: str) -> Mapping[str, Any]:
        found = self._document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        return dict(found)


def _is_of(kind: str, value: Any) -> bool:
    if kind == "null":
        return value is None
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _has_format(name: str, value: str) -> bool:
    if name == "date-time":
        return datetime.fromisoformat(value).tzinfo is not None
    assert name == "ipv4network", name
    return re.fullmatch(r"\d+\.\d+\.\d+\.\d+(/\d+)?", value) is not None


def _holds(keyword: str, wanted: Any, value: Any) -> bool:
    match keyword:
        case "const":
            return bool(value == wanted)
        case "enum":
            return value in wanted
        case "pattern":
            return re.search(wanted, value) is not None
        case "minLength" | "minItems":
            return len(value) >= wanted
        case "maxLength" | "maxItems":
            return len(value) <= wanted
        case "minimum":
            return bool(value >= wanted)
        case "maximum":
            return bool(value <= wanted)
    raise AssertionError(f"the document uses {keyword}, which nobody checks here")
