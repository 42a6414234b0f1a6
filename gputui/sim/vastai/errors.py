"""The errors of the Vast.ai API, and how any error looks on the wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gputui.sim.gate import Answer, ApiError
from gputui.sim.world import World

_TEXT = {"content-type": "text/plain; charset=utf-8"}


class VastError(ApiError):
    """An error whose body is not the normal envelope, or that carries more: `body` is JSON, or plain text."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        super().__init__(status, "", text)
        self.body = body
        self.headers = dict(headers or {})


def refused(status: int, code: str, text: str, **more: Any) -> VastError:
    """Return the normal envelope: success false, error code, sentence."""
    return VastError(status, {"success": False, "error": code, "msg": text, **more})


def bad_args(text: str) -> VastError:
    """Return a 400 invalid_args."""
    return refused(400, "invalid_args", text)


def bad_query(*complaints: str) -> VastError:
    """Return a 400 for a search query."""
    return refused(400, "bad_request", "; ".join(complaints))


def no_such_instance(world: World) -> VastError:
    """Return the 404 for an instance that does not exist or is somebody else's."""
    if world.faults.choice("missing_instance_as") == "not_found":
        return refused(404, "not_found", "Instance not found")
    return refused(404, "no_such_instance", "Instance with that ID does not exist.")


def bad_key(world: World) -> VastError:
    """Return the answer to a key that matches no user."""
    return refused(int(world.faults.choice("bad_key_status")), "auth_error", "Invalid user key")


def failed(world: World, error: ApiError) -> Answer:
    """Return an error as the API sends it; one of the world's own faults becomes what Vast.ai would say."""
    if isinstance(error, VastError):
        if isinstance(error.body, str):
            return Answer(error.body.encode(), error.status, {**_TEXT, **error.headers})
        return Answer(error.body, error.status, error.headers)
    match error.code:
        case "UNAUTHORIZED":
            return failed(world, bad_key(world))
        case "RATE_LIMITED":
            return Answer(b"API requests too frequent", 429, _TEXT)
        case "BAD_GATEWAY" | "UNAVAILABLE":
            page = f"<html><head><title>{error.status}</title></head><body><h1>{error.status}</h1></body></html>\n"
            return Answer(page.encode(), error.status, {"content-type": "text/html"})
    code = {"NOT_FOUND": "not_found", "INTERNAL": "internal_error"}.get(error.code, "invalid_request")
    return Answer({"success": False, "error": code, "msg": error.text}, error.status)
