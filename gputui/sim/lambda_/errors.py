"""The errors of the Lambda API, by their codes, and how any error looks on the wire."""

from __future__ import annotations

from typing import Any

from gputui.sim.gate import Answer, ApiError
from gputui.sim.world import World

_SUGGESTIONS = {
    "global/invalid-api-key": "Check the API key, or make a new one in the console.",
    "global/account-inactive": "Verify your email address and add a valid payment method.",
    "global/invalid-address": "Correct your billing address.",
    "global/object-does-not-exist": "Check the name or ID and try again.",
    "global/quota-exceeded": "Ask support for a higher quota.",
    "global/internal-error": "Try again later.",
    "instance-operations/launch/insufficient-capacity": "Try another instance type or region, or try again later.",
    "firewall-rulesets/firewall-ruleset-in-use": "Terminate the instances that use the ruleset first.",
}
_OF_THE_WORLD = {
    "UNAUTHORIZED": ("global/invalid-api-key", "API key was invalid, expired, or deleted."),
    "INTERNAL": ("global/internal-error", "An internal server error occurred."),
    "BAD_GATEWAY": ("provider/internal-unavailable", "Provider unavailable"),
    "UNAVAILABLE": ("provider/internal-unavailable", "Provider unavailable"),
    "NOT_FOUND": ("global/not-found", "The requested resource was not found."),
}
_BAN_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>Access denied | cloud.lambda.ai used Cloudflare to restrict access</title></head>"
    b"<body><h1>Error 1015</h1><p>You are being rate limited. The owner of this website (cloud.lambda.ai) has banned you "
    b"temporarily from accessing this website.</p></body></html>\n"
)


def invalid(text: str) -> ApiError:
    """Return a 400 global/invalid-parameters; its text is "<field>: <what is wrong>" where there is a field."""
    return ApiError(400, "global/invalid-parameters", text)


def missing(text: str, status: int = 404) -> ApiError:
    """Return a global/object-does-not-exist, 404 unless a launch says otherwise."""
    return ApiError(status, "global/object-does-not-exist", text)


def not_found() -> ApiError:
    """Return a 404 global/not-found."""
    return ApiError(404, "global/not-found", "The requested resource was not found.")


def quota_exceeded() -> ApiError:
    """Return a 400 global/quota-exceeded."""
    return ApiError(400, "global/quota-exceeded", "Quota exceeded.")


def edge_refusal(world: World) -> Answer:
    """Return the 429 of the edge, which is never JSON."""
    if world.faults.choice("rate_limit_body") == "html":
        return Answer(_BAN_PAGE, 429, {"content-type": "text/html; charset=UTF-8"})
    return plain(429, "error code: 1015")


def plain(status: int, text: str) -> Answer:
    """Return an answer of plain text."""
    return Answer(text.encode(), status, {"content-type": "text/plain; charset=UTF-8"})


def failed(world: World, error: ApiError) -> Answer:
    """Return an error as the API sends it; one of the world's own faults becomes what Lambda would say."""
    if error.status == 429:
        return edge_refusal(world)
    code, text = _OF_THE_WORLD.get(error.code, (error.code, error.text))
    shown: dict[str, Any] = {"code": code, "message": text}
    if code in _SUGGESTIONS:
        shown["suggestion"] = _SUGGESTIONS[code]
    if world.faults.flag("undocumented_fields"):
        shown["request_id"] = world.new_hex(32)
    return Answer({"error": shown}, error.status)
