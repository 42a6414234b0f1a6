"""Checks single requests and answers against an OpenAPI document, published or distilled, as far as that document goes.

Bodies are held to more than JSON Schema asks for: where a schema names members, others are strange. Answers to a loose
document, which requires no member and leaves many out, may have more, but must have all those that it names.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import unquote

import httpx
from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.validators import extend
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

_FORMATS = FormatChecker(formats=())
_BRANCHES = ("allOf", "anyOf", "oneOf")
# What these keywords complain of is a member by name, which only their message tells.
_ABOUT_MEMBERS = frozenset({"required", "additionalProperties", "unevaluatedProperties"})


@_FORMATS.checks("date-time", raises=ValueError)
def _is_moment(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@_FORMATS.checks("ipv4network")
def _is_network(value: object) -> bool:
    return not isinstance(value, str) or re.fullmatch(r"\d+\.\d+\.\d+\.\d+(/\d+)?", value) is not None


class Problem(NamedTuple):
    """What is wrong at a place: "status", "query.limit", "header.RateLimit", or a JSON path like "$.pods[].cost"."""

    place: str
    words: str


class Document:
    """An OpenAPI 3.1 document. Operations are "METHOD /path/{template}"; a slash at the end of a path means nothing."""

    def __init__(self, document: Mapping[str, Any], *, is_loose: bool = False) -> None:
        self._document = document
        self._paths: Mapping[str, Any] = document["paths"]
        self._validator = extend(Draft202012Validator, {"unevaluatedProperties": self._strange_members})
        self._closed = _registry(self._with_closed(document))
        self._successes = _registry(_demanding(document)) if is_loose else self._closed
        self._refusals = _registry(document) if is_loose else self._closed
        schemes = document["components"]["securitySchemes"].values()
        self._is_signed = any(scheme.get("scheme") == "bearer" for scheme in schemes)

    @property
    def operations(self) -> set[str]:
        """Return every operation of the document."""
        return {
            f"{method.upper()} {path}" for path, item in self._paths.items() for method in item.keys() - {"parameters"}
        }

    def operation(self, request: httpx.Request) -> str:
        """Return the operation of a request; its path as it came where the document has none for it."""
        path = _path(request)
        fitting = [template for template in self._paths if _pattern(template).fullmatch(path)]
        return f"{request.method} {min(fitting, key=lambda template: template.count('{'), default=path)}"

    def request_problems(self, operation: str, request: httpx.Request) -> Iterator[Problem]:
        """Yield what is wrong with a request of an operation."""
        if operation not in self.operations:
            yield Problem("operation", "is not documented")
            return
        if self._is_signed and not request.headers.get("authorization", "").startswith("Bearer "):
            yield Problem("header.Authorization", "is no bearer token")
        yield from self._parameter_problems(operation, request)
        described = self._described(operation).get("requestBody")
        if described is None:
            if request.content:
                yield Problem("body", "is not documented")
        elif request.content:
            if (kind := _kind(request)) not in described["content"]:
                yield Problem("content-type", f"is {kind}")
            else:
                pointer = _pointer(operation, "requestBody", "content", kind, "schema")
                yield from self._body_problems(self._closed, pointer, request.content)
        elif described.get("required"):
            yield Problem("body", "is missing")

    def answer_problems(self, operation: str, response: httpx.Response) -> Iterator[Problem]:
        """Yield what is wrong with an answer to an operation of the document. A stream of events is not read."""
        responses = self._described(operation)["responses"]
        status = next((code for code in (str(response.status_code), "default") if code in responses), None)
        if status is None:
            yield Problem("status", "is not documented")
            return
        described = self._resolved(responses[status])
        content, kind = described.get("content"), _kind(response)
        if content is not None and kind not in content:
            yield Problem("content-type", f"is {kind}")
            return
        yield from self._header_problems(described.get("headers", {}), response.headers)
        if content is None:
            if response.content:
                yield Problem("body", "is not documented")
        elif kind.endswith("json"):
            pointer = responses[status].get("$ref") or _pointer(operation, "responses", status)
            pointer += _joined("content", kind, "schema")
            registry = self._successes if response.is_success else self._refusals
            yield from self._body_problems(registry, pointer, response.content)

    def _header_problems(self, described: Mapping[str, Any], headers: Mapping[str, str]) -> Iterator[Problem]:
        for name, header in described.items():
            if name in headers:
                yield from self._value_problems(f"header.{name}", self._resolved(header)["schema"], headers[name])
            elif name != "Retry-After":  # only where there is something to wait for
                yield Problem(f"header.{name}", "is missing")

    def _described(self, operation: str) -> Mapping[str, Any]:
        method, _, path = operation.partition(" ")
        found: Mapping[str, Any] = self._paths[path][method.lower()]
        return found

    def _resolved(self, item: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" not in item:
            return item
        found: Any = self._document
        for part in item["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return self._resolved(found)

    def _parameter_problems(self, operation: str, request: httpx.Request) -> Iterator[Problem]:
        template = operation.partition(" ")[2]
        in_path = _pattern(template).fullmatch(_path(request))
        strange = set(request.url.params)
        listed = [*self._paths[template].get("parameters", []), *self._described(operation).get("parameters", [])]
        for parameter in map(self._resolved, listed):
            name, where, schema = parameter["name"], parameter["in"], parameter["schema"]
            place = f"{where}.{name}"
            if where == "path":
                texts = [unquote(in_path[name])] if in_path else []
            elif where == "query":
                texts = request.url.params.get_list(name)
                strange.discard(name)
            else:
                texts = [request.headers[name]] if name in request.headers else []
            if not texts and parameter.get("required"):
                yield Problem(place, "is missing")
            for text in texts:
                yield from self._value_problems(place, schema, text)
        yield from (Problem(f"query.{name}", "is not documented") for name in strange)

    def _value_problems(self, place: str, schema: Mapping[str, Any], text: str) -> Iterator[Problem]:
        """Yield what is wrong with a value that travels as text; lists travel joined by commas."""
        schema = self._resolved(schema)
        if schema.get("type") == "array":
            for part in text.split(","):
                yield from self._value_problems(place, schema["items"], part)
        else:
            found = self._errors(self._closed, schema, _read(schema, text))
            yield from (Problem(place, error.message) for error in found)

    def _body_problems(self, registry: Registry[Any], pointer: str, content: bytes) -> Iterator[Problem]:
        try:
            body = json.loads(content)
        except ValueError:
            yield Problem("body", "is no JSON")
            return
        for error in self._errors(registry, {"$ref": f"{_HERE}{pointer}"}, body):
            place = _place(error.absolute_schema_path)
            if error.validator in _ABOUT_MEMBERS:
                names = re.findall(r"'([^']+)'", error.message)
                yield from (Problem(f"{place}.{name}", str(error.validator)) for name in names)
            else:
                yield Problem(place, error.message)

    def _errors(self, registry: Registry[Any], schema: Mapping[str, Any], value: Any) -> Iterator[ValidationError]:
        validator = self._validator(schema, registry=registry, format_checker=_FORMATS)
        found: Iterator[ValidationError] = validator.iter_errors(value)
        return found

    def _with_closed(self, item: Any) -> Any:
        """Return a part of the document in which every schema of a whole value that names members is closed to others."""
        if isinstance(item, list):
            return [self._with_closed(one) for one in item]
        if not isinstance(item, dict):
            return item
        closed: dict[str, Any] = {}
        for keyword, value in item.items():
            if keyword in ("not", "if"):
                closed[keyword] = value
            elif keyword == "properties":
                closed[keyword] = {name: self._as_whole(one) for name, one in value.items()}
            elif keyword in ("items", "additionalProperties", "schema"):
                closed[keyword] = self._as_whole(value)
            else:
                closed[keyword] = self._with_closed(value)
        return closed

    def _as_whole(self, schema: Any) -> Any:
        closed = self._with_closed(schema)
        if isinstance(schema, dict) and any("properties" in part for part in self._parts(schema)):
            closed.setdefault("unevaluatedProperties", False)
        return closed

    def _strange_members(
        self, validator: Draft202012Validator, allowed: Any, instance: Any, schema: Mapping[str, Any]
    ) -> Iterator[ValidationError]:
        """Yield the members that no part of a schema knows; one that is wrong within is no stranger for that."""
        assert allowed is False
        parts = list(self._parts(schema))
        if isinstance(instance, dict) and not any(part.get("additionalProperties") for part in parts):
            known = set().union(*(part.get("properties", {}) for part in parts))
            yield from (ValidationError(f"{name!r} is strange") for name in instance.keys() - known)

    def _parts(self, schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Yield a schema and all those that apply to the same value."""
        yield schema
        parts = [part for branch in _BRANCHES for part in schema.get(branch, [])]
        if "then" in schema:
            parts.append(schema["then"])
        if "$ref" in schema:
            parts.append(self._resolved(schema))
        for part in parts:
            yield from self._parts(part)


_HERE = "urn:document"


def _registry(document: Any) -> Registry[Any]:
    return Registry().with_resource(_HERE, Resource.from_contents(document, DRAFT202012))


def _demanding(item: Any) -> Any:
    """Return a part of a document in which every named member is required."""
    if isinstance(item, list):
        return [_demanding(one) for one in item]
    if not isinstance(item, dict):
        return item
    demanding = {keyword: _demanding(value) for keyword, value in item.items()}
    return {**demanding, "required": sorted(item["properties"])} if "properties" in item else demanding


def _place(schema_path: Iterable[str | int]) -> str:
    """Return where a body is wrong; ".*" stands for a member whose name is data. The last step is what it offends."""
    *steps, _ = schema_path
    place, walk = "$", iter(steps)
    for step in walk:
        if step == "properties":
            place += f".{next(walk)}"
        elif step == "items":
            place += "[]"
        elif step == "additionalProperties":
            place += ".*"
    return place


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template))


def _path(request: httpx.Request) -> str:
    return request.url.raw_path.decode().partition("?")[0].rstrip("/")


def _pointer(operation: str, *steps: str) -> str:
    method, _, path = operation.partition(" ")
    return "#" + _joined("paths", path, method.lower(), *steps)


def _joined(*steps: str) -> str:
    """Return steps as a JSON pointer in a URI fragment."""
    escaped = (step.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D") for step in steps)
    return "".join(f"/{step}" for step in escaped)


def _kind(message: httpx.Request | httpx.Response) -> str:
    text: str = message.headers.get("content-type", "")
    return text.partition(";")[0].strip()


def _read(schema: Mapping[str, Any], text: str) -> Any:
    """Return a text as the type that it stands for, the text itself where it cannot be read as that."""
    kinds = schema.get("type", "string")
    if kinds in ("integer", "number", "boolean"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text
