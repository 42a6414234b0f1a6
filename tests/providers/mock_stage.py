"""What the tests of the mock cloud share: an offer of it, and orders."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gputui.model.types import CreateRequest, Offer
from gputui.providers.mock import catalogue
from gputui.sim.vtime import START_MS


def offer(machine_type: str = "1x-h100-sxm", region: str = "us-east", now_ms: int = START_MS) -> Offer:
    return catalogue.offer_of(catalogue.LISTINGS[f"mock:{machine_type}:{region}"], now_ms)


def request(number: int = 1, /, **changes: Any) -> CreateRequest:
    basis = CreateRequest(
        offer=offer(), label=f"gputui-t-{number:04d}", idempotency_key=f"idem-{number}", ssh_public_key=""
    )
    return replace(basis, **changes)
