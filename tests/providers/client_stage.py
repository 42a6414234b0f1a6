"""What the tests of every provider's client share: an API whose answers are written by hand, and how a call fails."""

from __future__ import annotations

import inspect
import json
from collections import defaultdict
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from gputui.model.errors import ProviderError
from gputui.providers.registry import ClientContext
from gputui.sim.vtime import START_MS, VirtualClock

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDUw0VGWImuV62YCeO1Q3RAme5yIBNqE7nVDgUEkb9Oh fake-key"
FINGERPRINT = "SHA256:wfaZWFbq0dnsAc4OjC4v/hI+XcdNPh9pSmeo8yJjUwY"
OUR_NAME = "gputui-wfaZWFbq0dns"
OTHER_PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEaF6C0hM0oFPt0GHHjmGXDh4Cm9HUR1WQMFzmUdfvFE fake-other"
HTML = "<!DOCTYPE html><html><body>Access denied</body></html>"


def seconds() -> float:
    """Return the virtual seconds since the test began."""
    return (VirtualClock().now_ms() - START_MS) / 1000


async def failure_of(call: Awaitable[Any]) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await call
    return caught.value


class Api:
    """Answers by "METHOD path", the path counted from `prefix` on, and keeps what it was sent and when.

    An answer is a response, an exception, or a function (a coroutine's too) from the request to one of them; a list of
    answers is used up one by one.
    """

    def __init__(self, prefix: str, routes: Mapping[str, Any]) -> None:
        self.routes: dict[str, Any] = dict(routes)
        self.requests: list[httpx.Request] = []
        self.times_s: dict[str, list[float]] = defaultdict(list)
        self._prefix = prefix

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        name = self.name_of(request)
        self.requests.append(request)
        self.times_s[name].append(seconds())
        answer = self.routes[name]
        if isinstance(answer, list):
            answer = answer.pop(0)
        if callable(answer):
            answer = answer(request)
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        return self.response_of(answer)

    def response_of(self, answer: Any) -> httpx.Response:
        """Return a copy: a client uses a response up."""
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def answer_everything(self, answer: Any) -> None:
        """Answer every question alike."""
        self.routes = defaultdict(lambda: answer)

    def name_of(self, request: httpx.Request) -> str:
        return f"{request.method} {request.url.path.removeprefix(self._prefix)}"

    @property
    def names(self) -> list[str]:
        """What was asked, in order."""
        return [self.name_of(request) for request in self.requests]

    def sent(self, name: str) -> list[httpx.Request]:
        return [request for request in self.requests if self.name_of(request) == name]

    def bodies(self, name: str) -> list[Any]:
        return [json.loads(request.content) for request in self.sent(name)]

    def body(self, name: str) -> Any:
        """Return the body of the one request of this name."""
        (body,) = self.bodies(name)
        return body

    def context(self, folder: Path, *, key: str, url: str | None = None) -> ClientContext:
        """Return what a client of this API is made with; its key as somebody may have pasted it."""
        return ClientContext(VirtualClock(), folder, api_key=f" {key}\n", url=url, transport=httpx.MockTransport(self))
