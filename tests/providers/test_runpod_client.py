"""What the RunPod client asks of the market, at what pace, and how it takes what comes back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from client_stage import failure_of
from runpod_answers import END, GPU, KEY, LIST, ONE, POD, URL, RunPodApi, ok, refused

from gputui.model.errors import AuthError, ConfigError, Malformed, RateLimited, Rejected, Transient, UsageError
from gputui.model.types import Stock, Tier
from gputui.providers import base
from gputui.providers.registry import ClientContext
from gputui.providers.runpod.client import RunPodClient
from gputui.sim.vtime import VirtualClock, in_virtual_time


@pytest.fixture
def api() -> RunPodApi:
    return RunPodApi()


class TestClient:
    def test_capabilities(self) -> None:
        can = base.capabilities_of(RunPodClient)
        assert {name for name, has in can.items() if has} == {
            "balance",
            "ssh-keys",
            "regions",
            "volumes",
            "attach volumes at create",
            "stop and start",
            "charges",
            "logs",
        }
        assert not hasattr(RunPodClient, "create_is_idempotent")

    @in_virtual_time
    async def test_sends_the_key_in_its_header_only(self, api: RunPodApi, client: RunPodClient) -> None:
        check = await client.check_key()
        assert (check.provider, check.ok, check.detail) == ("runpod", True, "1 pod")
        (request,) = api.requests
        assert str(request.url) == f"{URL}/pods"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["user-agent"].startswith("gputui")

    @pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "kéy"])
    def test_a_key_that_cannot_be_one_is_refused_unseen(self, key: str, tmp_path: Path) -> None:
        with pytest.raises(UsageError) as caught:
            RunPodClient(ClientContext(VirtualClock(), tmp_path, api_key=key, url=URL))
        assert not key or key not in str(caught.value)

    def test_a_key_is_never_sent_in_clear(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError):
            RunPodClient(ClientContext(VirtualClock(), tmp_path, api_key=KEY, url="http://api.runpod.test/v2"))

    @in_virtual_time
    async def test_a_dead_key(self, api: RunPodApi, client: RunPodClient) -> None:
        api.routes[LIST] = refused(401, f"bad token {KEY}")
        error = await failure_of(client.check_key())
        assert isinstance(error, AuthError)
        assert KEY not in str(error)
        assert len(api.requests) == 1

    @in_virtual_time
    async def test_a_403_alone_is_no_dead_key(self, api: RunPodApi, client: RunPodClient) -> None:
        api.routes[LIST] = refused(403, "access denied")
        api.routes["GET v2/catalog/gpus"] = ok({"gpus": []})
        check = await client.check_key()
        assert check.ok
        assert "may not see pods" in check.detail
        api.routes["GET v2/catalog/gpus"] = refused(403, "access denied")
        assert isinstance(await failure_of(client.check_key()), AuthError)

    @in_virtual_time
    async def test_the_edge_is_not_a_dead_key(self, api: RunPodApi, client: RunPodClient) -> None:
        api.routes[LIST] = httpx.Response(403, text="error code: 1010")
        assert isinstance(await failure_of(client.check_key()), Transient)

    @pytest.mark.parametrize("answer", [refused(404, "The requested path was not found."), ok({"ok": True}), ok([])])
    @in_virtual_time
    async def test_another_server_is_not_taken_for_an_empty_account(
        self, api: RunPodApi, client: RunPodClient, answer: httpx.Response
    ) -> None:
        api.answer_everything(answer)
        for call in (client.list_machines, client.fetch_offers, client.list_ssh_keys, client.list_volumes):
            error = await failure_of(call())
            assert isinstance(error, Malformed)
            assert error.may_exist is False

    @in_virtual_time
    async def test_a_wrong_address_is_not_a_machine_that_is_gone(self, api: RunPodApi, client: RunPodClient) -> None:
        api.routes[ONE] = api.routes[END] = refused(404, "The requested path was not found.")
        assert isinstance(await failure_of(client.get(POD["id"])), Malformed)
        assert isinstance(await failure_of(client.terminate(POD["id"], idempotency_key="t")), Malformed)

    @in_virtual_time
    async def test_aclose(self, api: RunPodApi, client: RunPodClient) -> None:
        await client.get(POD["id"])
        waiting = asyncio.create_task(client.get(POD["id"]))
        await asyncio.sleep(0.1)
        await client.aclose()
        with pytest.raises(asyncio.CancelledError):
            await waiting


class TestPace:
    @in_virtual_time
    async def test_no_more_than_the_documented_quota(self, api: RunPodApi, client: RunPodClient) -> None:
        api.routes["GET v2/catalog/datacenters"] = ok({"dataCenters": []})
        await asyncio.gather(*(client.list_regions() for _ in range(30)))
        await asyncio.gather(*(client.list_machines() for _ in range(20)))
        times = sorted(time for times in api.times_s.values() for time in times)
        assert all(sum(start <= time < start + 60 for time in times) <= 60 for start in times)
        assert len(times) == 50

    @in_virtual_time
    async def test_ending_a_pod_goes_before_reading(self, api: RunPodApi, client: RunPodClient) -> None:
        reads = [asyncio.create_task(client.list_machines()) for _ in range(20)]
        await asyncio.sleep(0.1)
        await client.terminate(POD["id"], idempotency_key="t")
        assert api.times_s[END] == pytest.approx([0.1], abs=0.05)
        await asyncio.gather(*reads)

    @in_virtual_time
    async def test_a_quota_that_is_used_up_is_waited_for(self, api: RunPodApi, client: RunPodClient) -> None:
        api.routes[LIST] = ok({"pods": []}, RateLimit='"minute";r=0;t=12, "hour";r=9;t=999')
        await client.list_machines()
        await client.list_machines()
        assert api.times_s[LIST] == pytest.approx([0, 12], abs=0.1)

    @in_virtual_time
    async def test_over_the_limit(self, api: RunPodApi, client: RunPodClient) -> None:
        api.routes[LIST] = refused(429, "rate limit exceeded for the hour window", RateLimit='"hour";r=0;t=900')
        error = await failure_of(client.list_machines())
        assert isinstance(error, RateLimited)
        assert error.retry_after_s == 900
        assert len(api.requests) == 1


class TestOffers:
    @in_virtual_time
    async def test_both_clouds_and_every_count(self, api: RunPodApi, client: RunPodClient) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            count = int(request.url.params["count"])
            sold_out = {**GPU, "availability": "NONE"}
            del sold_out["dataCenters"]
            return ok({"gpus": [GPU if count < 4 else sold_out, {"id": "unknown"}, None]})

        api.routes["GET v2/catalog/gpus"] = answer
        offers = await client.fetch_offers()
        assert sorted(
            (offer.tier, offer.gpu_count, offer.region, offer.stock, offer.price_micro_usd_per_hour) for offer in offers
        ) == [
            (Tier.COMMUNITY, 1, "EU-RO-1", Stock.HIGH, 340_000),
            (Tier.COMMUNITY, 2, "EU-RO-1", Stock.HIGH, 680_000),
            (Tier.SECURE, 1, "EU-RO-1", Stock.HIGH, 740_000),
            (Tier.SECURE, 2, "EU-RO-1", Stock.HIGH, 1_480_000),
            (Tier.SECURE, 4, None, Stock.NONE, 2_960_000),
        ]
        asked = [dict(request.url.params) for request in api.requests]
        assert all((question["include"], question["product"]) == ("AVAILABILITY", "POD") for question in asked)
        assert {(question["cloud"], question["count"]) for question in asked} == {
            ("SECURE", "1"),
            ("SECURE", "2"),
            ("SECURE", "4"),
            ("COMMUNITY", "1"),
            ("COMMUNITY", "2"),
        }
        assert len(asked) == 5

    @in_virtual_time
    async def test_half_a_market_is_none(self, api: RunPodApi, client: RunPodClient) -> None:
        api.routes["GET v2/catalog/gpus"] = lambda request: (
            ok({"gpus": [GPU]}) if request.url.params["cloud"] == "SECURE" else refused(400)
        )
        assert isinstance(await failure_of(client.fetch_offers()), Rejected)


@in_virtual_time
async def test_regions(api: RunPodApi, client: RunPodClient) -> None:
    api.routes["GET v2/catalog/datacenters"] = ok({"dataCenters": [{"id": "EU-RO-1", "name": "EU Romania 1"}]})
    (region,) = await client.list_regions()
    assert (region.provider, region.code, region.name, region.country) == ("runpod", "EU-RO-1", "EU Romania 1", "RO")
