"""A transport that looks at every exchange between a client and a simulator, and holds both to a provider's document."""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import httpx
from distil import FACTS, published
from known_faults import REQUEST, Fault, beyond
from openapi import Document

FOLDER = os.environ.get("GPUTUI_SPECS")
LOOSE = frozenset({"vastai"})
SOURCES = ("facts", "published") if FOLDER else ("facts",)


@functools.cache
def document_of(provider: str, source: str = "facts") -> Document:
    """Return a provider's document: the committed facts, or what is published, from the folder in GPUTUI_SPECS."""
    if source == "facts":
        content = json.loads((FACTS / f"{provider}.json").read_text())
    else:
        content = published(provider, Path(str(FOLDER)))
    return Document(content, is_loose=provider in LOOSE)


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, with what is wrong with each beyond the known faults of the document."""

    operation: str
    status: int
    request_problems: list[str]
    answer_problems: list[str]


class Witness(httpx.AsyncBaseTransport):
    """Passes everything on. `mount` is the part of an address before the provider's own paths."""

    def __init__(self, inner: httpx.AsyncBaseTransport, provider: str, document: Document, *, mount: str = "") -> None:
        self._inner = inner
        self._provider = provider
        self._mount = mount
        self.document = document
        self.exchanges: list[Exchange] = []
        self.used_faults: set[Fault] = set()

    @property
    def succeeded(self) -> set[str]:
        """Return the operations that were answered well."""
        return {seen.operation for seen in self.exchanges if seen.status < 300}

    @property
    def request_problems(self) -> list[str]:
        return sorted({problem for seen in self.exchanges for problem in seen.request_problems})

    @property
    def answer_problems(self) -> list[str]:
        return sorted({problem for seen in self.exchanges for problem in seen.answer_problems})

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        path = request.url.raw_path.decode().removeprefix(self._mount)
        url = request.url.copy_with(raw_path=path.encode())
        asked = httpx.Request(request.method, url, headers=request.headers, content=content)
        operation = self.document.operation(asked)
        response = await self._inner.handle_async_request(request)
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            await response.aread()
        self.exchanges.append(
            Exchange(
                operation,
                response.status_code,
                self._beyond(operation, REQUEST, self.document.request_problems(operation, asked)),
                self._answer_problems(operation, response),
            )
        )
        return response

    def _answer_problems(self, operation: str, response: httpx.Response) -> list[str]:
        if operation not in self.document.operations:
            return []
        found = self.document.answer_problems(operation, response)
        return self._beyond(operation, response.status_code, found)

    def _beyond(self, operation: str, what: str | int, problems: Any) -> list[str]:
        return beyond(self._provider, operation, what, problems, self.used_faults)


class Noted:
    """Hands calls on to a client and notes their names."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.called: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.called.add(name)
        return getattr(self._client, name)


def public_calls(client_class: type) -> set[str]:
    """Return the names of what a client can be asked for over the wire."""
    return {
        name for name, member in vars(client_class).items() if not name.startswith("_") and iscoroutinefunction(member)
    }


def watch(http: httpx.AsyncClient, provider: str, source: str) -> Witness:
    """Put a witness between a stage's raw HTTP client and its simulator, which is mounted under the provider's name."""
    witness = Witness(http._transport, provider, document_of(provider, source), mount=f"/{provider}")
    http._transport = witness
    return witness
