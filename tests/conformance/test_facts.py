"""The committed facts are what the published files say, and the checker finds what is wrong with an exchange."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from distil import FACTS, PATHS, as_text, distilled, published
from test_runpod import FRAME, form_of
from witness import SOURCES, document_of

FOLDER = os.environ.get("GPUTUI_SPECS")
with_published_files = pytest.mark.skipif(not FOLDER, reason="GPUTUI_SPECS names no folder with the published files")


@with_published_files
@pytest.mark.parametrize("provider", PATHS)
def test_distilling_again_yields_the_committed_facts(provider: str) -> None:
    again = as_text(distilled(published(provider, Path(str(FOLDER))), PATHS[provider]))
    assert (FACTS / f"{provider}.json").read_text() == again


def test_facts_hold_no_sentences() -> None:
    for provider in PATHS:
        facts = json.loads((FACTS / f"{provider}.json").read_text())
        assert [text for text in texts_in(facts) if len(text.split()) > 3] == []


def texts_in(facts: Any) -> Iterator[str]:
    """Yield every text in a document, names of members among them."""
    if isinstance(facts, str):
        yield facts
    elif isinstance(facts, dict | list):
        for part in [*facts, *facts.values()] if isinstance(facts, dict) else facts:
            yield from texts_in(part)


@with_published_files
def test_where_runpods_document_contradicts_itself() -> None:
    paths = published("runpod", Path(str(FOLDER)))["paths"]
    (example,) = paths["/v2/pods"]["post"]["responses"]["201"]["content"]["application/json"]["examples"].values()
    assert (example["value"]["status"], example["value"]["actions"]) == ("PROVISIONING", ["start", "terminate"])
    prose = " ".join(paths["/v2/pods/{id}/action"]["post"]["description"].split())
    assert "`PROVISIONING` and `STARTING` allow `stop`/`terminate`" in prose, "which is what the simulator does"


@with_published_files
def test_the_frame_of_a_log_is_that_of_the_document() -> None:
    answer = published("runpod", Path(str(FOLDER)))["paths"]["/v2/pods/{id}/logs"]["get"]["responses"]["200"]
    (example,) = answer["content"]["text/event-stream"]["examples"].values()
    assert form_of(example["value"]) == FRAME


KEY = {"Authorization": "Bearer sim-key"}
ORDER = {"name": "x", "image": "y", "gpu": {"id": "z"}}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("provider", "method", "address", "body", "places"),
    [
        ("lambda", "GET", "/api/v1/regions", None, set()),
        ("lambda", "GET", "/api/v1/nothing", None, {"operation"}),
        ("lambda", "POST", "/api/v1/regions", None, {"operation"}),
        ("lambda", "GET", "/api/v1/instances?cluster_id=x", None, set()),
        ("lambda", "GET", "/api/v1/instances?colour=red", None, {"query.colour"}),
        ("lambda", "GET", "/api/v1/regions", {}, {"body"}),
        ("lambda", "POST", "/api/v1/ssh-keys", None, {"body"}),
        ("lambda", "POST", "/api/v1/ssh-keys", {"name": "x"}, set()),
        ("lambda", "POST", "/api/v1/ssh-keys", {}, {"$.name"}),
        ("lambda", "POST", "/api/v1/ssh-keys", {"name": 1, "colour": "red"}, {"$.name", "$.colour"}),
        ("runpod", "POST", "/v2/pods", ORDER, set()),
        ("runpod", "POST", "/v2/pods", {**ORDER, "gpu": {"id": "z", "bid": 1}}, {"$.gpu.bid"}),
        ("runpod", "POST", "/v2/pods", {**ORDER, "gpu": {"id": "z", "count": "1"}}, {"$.gpu.count"}),
        ("runpod", "GET", "/v2/catalog/gpus?include=AVAILABILITY&count=2", None, set()),
        ("runpod", "GET", "/v2/catalog/gpus?include=EVERYTHING&count=two", None, {"query.include", "query.count"}),
        ("runpod", "GET", "/v2/pods?includeClusterPods=yes", None, {"query.includeClusterPods"}),
        ("runpod", "GET", "/v2/billing?startTime=yesterday", None, {"query.startTime"}),
        ("vastai", "GET", "/api/v0/instances/7/", None, set()),
        ("vastai", "GET", "/api/v0/instances/seven/", None, {"path.id"}),
        ("vastai", "GET", "/api/v0/charges/", None, {"query.select_filters"}),
        ("vastai", "PUT", "/api/v0/instances/7/", {"state": "asleep"}, {"$.state"}),
    ],
)
def test_what_is_wrong_with_a_request(
    source: str, provider: str, method: str, address: str, body: Any, places: set[str]
) -> None:
    request = httpx.Request(method, f"https://host{address}", headers=KEY, json=body)
    document = document_of(provider, source)
    operation = document.operation(request)
    assert {problem.place for problem in document.request_problems(operation, request)} == places


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Basic eA=="}], ids=["without a key", "with a key of another kind"]
)
def test_a_request_that_is_not_signed(headers: dict[str, str]) -> None:
    request = httpx.Request("GET", "https://host/v2/pods", headers=headers)
    (problem,) = document_of("runpod").request_problems("GET /v2/pods", request)
    assert problem.place == "header.Authorization"


REGION = {"name": "us-east-1", "description": "Virginia, USA"}
VOLUME = {"id": "x", "name": "data", "size": 10, "dataCenter": "EU-RO-1", "type": "STANDARD"}
LIMITS = {"RateLimit": '"minute";r=1;t=1', "RateLimit-Policy": '"minute";q=60;w=60'}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("provider", "operation", "status", "body", "places"),
    [
        ("lambda", "GET /api/v1/regions", 200, {"data": [REGION]}, set()),
        ("lambda", "GET /api/v1/regions", 200, {}, {"$.data"}),
        ("lambda", "GET /api/v1/regions", 200, {"data": REGION}, {"$.data"}),
        ("lambda", "GET /api/v1/regions", 200, {"data": [{"name": 1}]}, {"$.data[].name", "$.data[].description"}),
        ("lambda", "GET /api/v1/regions", 200, {"data": [], "x": 1}, {"$.x"}),
        ("lambda", "GET /api/v1/regions", 418, {}, {"status"}),
        ("runpod", "GET /v2/network-volumes", 200, {"networkVolumes": [VOLUME]}, set()),
        ("runpod", "GET /v2/network-volumes", 200, [], {"$"}),
        ("runpod", "GET /v2/network-volumes", 200, {"networkVolumes": [], "more": []}, {"$.more"}),
        ("runpod", "GET /v2/network-volumes", 200, {"networkVolumes": [{**VOLUME, "a": 1}]}, {"$.networkVolumes[].a"}),
        (
            "runpod",
            "GET /v2/network-volumes",
            200,
            {"networkVolumes": [{**VOLUME, "size": 9, "type": "FAST"}]},
            {"$.networkVolumes[].size", "$.networkVolumes[].type"},
        ),
        ("runpod", "GET /v2/network-volumes", 500, {"title": "x", "status": 500}, {"content-type"}),
        ("vastai", "PUT /api/v0/volumes", 200, {"success": True, "volume_name": "V.1", "more": 1}, set()),
        ("vastai", "PUT /api/v0/volumes", 200, {"success": True}, {"$.volume_name"}),
    ],
)
def test_what_is_wrong_with_an_answer(
    source: str, provider: str, operation: str, status: int, body: Any, places: set[str]
) -> None:
    response = httpx.Response(status, headers=LIMITS, json=body)
    found = document_of(provider, source).answer_problems(operation, response)
    assert {problem.place for problem in found} == places


def test_an_answer_without_its_headers() -> None:
    found = document_of("runpod").answer_problems(
        "GET /v2/network-volumes", httpx.Response(200, json={"networkVolumes": []})
    )
    assert {problem.place for problem in found} == {"header.RateLimit", "header.RateLimit-Policy"}


def test_an_answer_that_is_cut_off() -> None:
    answer = httpx.Response(200, content=b'{"data": [', headers={"Content-Type": "application/json"})
    (problem,) = document_of("lambda").answer_problems("GET /api/v1/regions", answer)
    assert problem.place == "body"
