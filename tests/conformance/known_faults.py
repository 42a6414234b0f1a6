"""Where the published OpenAPI files of the providers are wrong or silent, and on what ground we differ from them.

One table for all of them. Every entry must still be needed: the tests fail when one matches nothing any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from openapi import Problem

REQUEST = "request"
ANY = "*"


class Fault(NamedTuple):
    """`operation` is "METHOD /path/{template}", `what` REQUEST or the status of an answer; either may be ANY.

    A `place` that begins with "*" stands for all that end with the rest of it.
    """

    provider: str
    operation: str
    what: str | int
    place: str

    def explains(self, provider: str, operation: str, what: str | int, place: str) -> bool:
        """Say whether this is the ground of a problem."""
        fits_place = place.endswith(self.place[1:]) if self.place.startswith(ANY) else place == self.place
        return (
            fits_place and self.provider == provider and self.operation in (ANY, operation) and self.what in (ANY, what)
        )


_EDGE = "the edge blocks some User-Agents in plain text; the document ends at the API behind it"
_LIVE = "seen live, not documented"
_NEWER = "came after the saved document"
_EARLY = "answered before anybody knows who asks, so it tells no limits"
_OWN_CLIENT = "sent so by Vast.ai's own client (vast-ai/vast-cli)"
_FILTER = "any filter of the offers' search is taken; its description names them in words"
_PRESENT = "present only when it is not null, as its own description says"
_NULL = "null where there is none, seen live"
_NUMBER = "a number in every offer seen live"
_LOCAL = "a moment without a zone, seen live"

KNOWN_FAULTS: Mapping[Fault, str] = {
    Fault("lambda", ANY, ANY, "*.architecture"): _LIVE,
    Fault("lambda", ANY, ANY, "*.workspace_id"): _LIVE,
    Fault("lambda", ANY, ANY, "*.is_reserved"): "in the document's own examples and its older versions",
    Fault("lambda", ANY, ANY, "$.error.request_id"): "in later copies of the document under the same version",
    Fault("lambda", ANY, 403, "content-type"): _EDGE,
    Fault("lambda", ANY, 429, "status"): "the rate limit is in the prose only, and its answer is the edge's plain text",
    Fault("lambda", ANY, 500, "status"): "no 5xx is documented; global/unknown was seen for two keys of one name",
    Fault("lambda", ANY, 503, "status"): "clients match codes that begin with provider/; none is documented",
    Fault(
        "lambda", "DELETE /api/v1/ssh-keys/{id}", 400, "$.error.code"
    ): "a key in use was documented until 1.5.3, gone since though never said withdrawn",
    Fault("runpod", "POST /graphql", REQUEST, "operation"): "the older API, which alone tells the balance",
    Fault(
        "runpod", "GET /v2/pods/{id}/logs", REQUEST, "header.Last-Event-ID"
    ): "an event's id has a number after its moment, seen live by RunPod's own runpodctl (internal/api/logs.go)",
    Fault("runpod", ANY, 403, "content-type"): _EDGE,
    Fault("runpod", ANY, 413, "header.RateLimit"): _EARLY,
    Fault("runpod", ANY, 413, "header.RateLimit-Policy"): _EARLY,
    Fault("runpod", ANY, 500, "header.RateLimit"): _EARLY,
    Fault("runpod", ANY, 500, "header.RateLimit-Policy"): _EARLY,
    Fault("runpod", ANY, 200, "$.pagination"): f"pages {_NEWER}",
    Fault("runpod", ANY, ANY, "*.gpu.vcpuCount"): f"what a pod has of its host {_NEWER}",
    Fault("runpod", ANY, ANY, "*.gpu.memory"): f"what a pod has of its host {_NEWER}",
    Fault("runpod", ANY, ANY, "*.cmd"): f"a container's command in words {_NEWER}",
    Fault("runpod", ANY, ANY, "*.entrypoint"): f"a container's command in words {_NEWER}",
    Fault("vastai", "GET /api/v0/gpu_names/unique", REQUEST, "operation"): _OWN_CLIENT,
    Fault("vastai", "POST /api/v0/bundles", REQUEST, "$.type"): "on-demand in the document's own example, too",
    Fault("vastai", "POST /api/v0/bundles", REQUEST, "$.order"): "its bounds belong to the inner lists: one will do",
    Fault("vastai", "POST /api/v0/bundles", REQUEST, "$.gpu_name.eq"): "in the words of its description",
    Fault("vastai", "POST /api/v0/bundles", REQUEST, "$.num_gpus.gte"): "in the words of its description",
    Fault("vastai", "PUT /api/v0/asks/{id}", REQUEST, "$.client_id"): _OWN_CLIENT,
    Fault("vastai", "PUT /api/v0/asks/{id}", REQUEST, "$.runtype"): _OWN_CLIENT,
    Fault("vastai", "PUT /api/v0/asks/{id}", REQUEST, "$.env"): _OWN_CLIENT,
    Fault("vastai", "GET /api/v0/volumes", REQUEST, "query.owner"): _OWN_CLIENT,
    Fault("vastai", "GET /api/v0/volumes", REQUEST, "query.type"): _OWN_CLIENT,
    Fault("vastai", "PUT /api/v0/volumes", REQUEST, "$.name"): _OWN_CLIENT,
    Fault("vastai", "POST /api/v0/volumes/search", REQUEST, "$.allocated_storage"): _OWN_CLIENT,
    Fault("vastai", "POST /api/v0/volumes/search", REQUEST, "$.order"): _OWN_CLIENT,
    Fault("vastai", "POST /api/v0/volumes/search", REQUEST, "$.disk_space"): _FILTER,
    Fault("vastai", "POST /api/v0/volumes/search", REQUEST, "$.geolocation"): _FILTER,
    Fault("vastai", "POST /api/v0/volumes/search", REQUEST, "$.machine_id"): _FILTER,
    Fault("vastai", "POST /api/v0/volumes/search", REQUEST, "$.verified"): _FILTER,
    Fault("vastai", "DELETE /api/v0/instances/{id}", 200, "$.msg"): "answers seen live have `success` alone",
    Fault("vastai", "GET /api/v0/instances/{id}", 200, "$.instances"): "null for one that is not there, seen live",
    Fault("vastai", "GET /api/v0/instances/{id}", 200, "$.instances.ports"): "an object, seen live and in the list",
    Fault("vastai", "GET /api/v0/instances/{id}", 200, "$.instances.extra_env[]"): "pairs of name and value, seen live",
    Fault("vastai", "GET /api/v0/instances/{id}", 200, "$.instances.public_ipaddr"): _NULL,
    Fault("vastai", "GET /api/v1/instances", 200, "$.instances[].public_ipaddr"): _NULL,
    Fault("vastai", "GET /api/v1/instances", 200, "$.instances[].onstart"): _NULL,
    Fault("vastai", "GET /api/v0/auth/apikeys", 200, "$.apikeys[].rights"): "the permissions as they were given",
    Fault("vastai", "GET /api/v0/auth/apikeys", 200, "$.apikeys[].team_id"): _NULL,
    Fault("vastai", "GET /api/v0/auth/apikeys", 200, "$.apikeys[].team_name"): _NULL,
    Fault("vastai", "GET /api/v0/charges", 200, "$.results[].metadata.label"): _PRESENT,
    Fault("vastai", "GET /api/v0/charges", 200, "$.results[].metadata.template_id"): _PRESENT,
    Fault("vastai", "GET /api/v0/charges", 200, "$.results[].metadata.endpoint_id"): _PRESENT,
    Fault("vastai", "GET /api/v0/charges", 200, "$.results[].metadata.workergroup_id"): _PRESENT,
    Fault("vastai", "GET /api/v0/ssh", 200, "$[].created_at"): _LOCAL,
    Fault("vastai", "POST /api/v0/ssh", 200, "$.key.created_at"): _LOCAL,
    Fault("vastai", "GET /api/v0/ssh", 401, "body"): "documented without a body; a key of nobody is answered alike",
    Fault("vastai", "POST /api/v0/volumes/search", 200, "$.offers[].geolocode"): _NUMBER,
    Fault("vastai", "POST /api/v0/volumes/search", 200, "$.offers[].vericode"): _NUMBER,
    Fault("vastai", "POST /api/v0/volumes/search", 200, "$.offers[].driver_vers"): _NUMBER,
}


def faults_of(provider: str) -> set[Fault]:
    """Return the entries of one provider."""
    return {fault for fault in KNOWN_FAULTS if fault.provider == provider}


def beyond(provider: str, operation: str, what: str | int, problems: Iterable[Problem], used: set[Fault]) -> list[str]:
    """Return the problems that the table does not know, as lines; add the entries that explain the others to `used`."""
    unknown = set()
    for place, words in problems:
        grounds = {fault for fault in KNOWN_FAULTS if fault.explains(provider, operation, what, place)}
        used |= grounds
        if not grounds:
            unknown.add(f"{operation} {what} {place}: {words}")
    return sorted(unknown)
