"""What the Lambda client asks of the market, at what pace, and how it takes what comes back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from client_stage import failure_of, seconds
from lambda_answers import H100, KEY, LAUNCH, OFFER, REQUEST, TERMINATE, TEXAS, URL, LambdaApi, ok, refused

from gputui.model.errors import AuthError, ConfigError, Malformed, RateLimited, Transient, UsageError
from gputui.model.types import Stock
from gputui.providers import base
from gputui.providers.lambda_.client import LambdaClient
from gputui.providers.registry import ClientContext
from gputui.sim.vtime import VirtualClock, in_virtual_time

BANNED = "<html><body>The owner of this website has banned you temporarily</body></html>"


@pytest.fixture
def api() -> LambdaApi:
    return LambdaApi()


class TestClient:
    def test_capabilities(self) -> None:
        can = base.capabilities_of(LambdaClient)
        assert {name for name, has in can.items() if has} == {
            "ssh-keys", "os-images", "regions", "volumes", "attach volumes at create",
        }  # fmt: skip
        assert not hasattr(LambdaClient, "create_is_idempotent")

    @in_virtual_time
    async def test_sends_the_key_in_its_header_only(self, api: LambdaApi, client: LambdaClient) -> None:
        check = await client.check_key()
        assert (check.provider, check.ok, check.identity) == ("lambda", True, "workspace w-7")
        (request,) = api.requests
        assert str(request.url) == f"{URL}/ssh-keys"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["user-agent"].startswith("gputui")

    @in_virtual_time
    async def test_no_ssh_key_names_no_workspace(self, api: LambdaApi, client: LambdaClient) -> None:
        api.routes["GET ssh-keys"] = ok([])
        check = await client.check_key()
        assert (check.ok, check.identity) == (True, None)

    @pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "kéy"])
    def test_a_key_that_cannot_be_one_is_refused_unseen(self, key: str, tmp_path: Path) -> None:
        with pytest.raises(UsageError) as caught:
            LambdaClient(ClientContext(VirtualClock(), tmp_path, api_key=key, url=URL))
        assert not key or key not in str(caught.value)

    def test_a_key_is_never_sent_in_clear(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError):
            LambdaClient(ClientContext(VirtualClock(), tmp_path, api_key=KEY, url="http://cloud.lambda.test/api/v1"))

    @in_virtual_time
    async def test_a_dead_key(self, api: LambdaApi, client: LambdaClient) -> None:
        api.routes["GET ssh-keys"] = refused(401, "global/invalid-api-key", f"API key {KEY} was invalid.")
        error = await failure_of(client.check_key())
        assert isinstance(error, AuthError)
        assert KEY not in str(error)
        assert "gputui auth login lambda" in str(error)

    @in_virtual_time
    async def test_the_edge_is_not_a_dead_key(self, api: LambdaApi, client: LambdaClient) -> None:
        api.routes["GET ssh-keys"] = httpx.Response(403, text="error code: 1010")
        with pytest.raises(Transient):
            await client.check_key()

    @pytest.mark.parametrize("text", ["error code: 1015", BANNED])
    @in_virtual_time
    async def test_the_edges_limit_is_no_envelope(self, api: LambdaApi, client: LambdaClient, text: str) -> None:
        api.routes["GET instances"] = httpx.Response(429, text=text, headers={"Retry-After": "60"})
        error = await failure_of(client.list_machines())
        assert isinstance(error, RateLimited)
        assert error.retry_after_s == 60

    @pytest.mark.parametrize("answer", [refused(404, "global/not-found"), httpx.Response(200, json={"ok": True})])
    @in_virtual_time
    async def test_another_server_is_not_taken_for_an_empty_account(
        self, api: LambdaApi, client: LambdaClient, answer: httpx.Response
    ) -> None:
        api.answer_everything(answer)
        for call in (client.list_machines, client.fetch_offers, client.list_ssh_keys, client.list_volumes):
            error = await failure_of(call())
            assert isinstance(error, Malformed)
            assert error.may_exist is False

    @in_virtual_time
    async def test_aclose(self, client: LambdaClient) -> None:
        await client.aclose()


class TestPace:
    @in_virtual_time
    async def test_requests_keep_to_one_a_second_after_a_few(self, api: LambdaApi, client: LambdaClient) -> None:
        api.routes["GET instances"] = ok([])
        await asyncio.gather(*(client.list_machines() for _ in range(6)))
        assert api.times_s["GET instances"] == pytest.approx([0, 0, 1, 2, 3, 4], abs=0.1)

    @in_virtual_time
    async def test_ending_a_machine_goes_before_reading(self, api: LambdaApi, client: LambdaClient) -> None:
        api.routes["GET instances"] = ok([])
        api.routes[TERMINATE] = ok({})
        reads = [asyncio.create_task(client.list_machines()) for _ in range(8)]
        await asyncio.sleep(0.1)
        await client.terminate("i-1", idempotency_key="idem-t")
        assert api.times_s[TERMINATE] == pytest.approx([0.1], abs=0.05)
        await asyncio.gather(*reads)

    @in_virtual_time
    async def test_launches_are_more_than_twelve_seconds_apart(self, api: LambdaApi, client: LambdaClient) -> None:
        requests = [replace(REQUEST, label=f"gputui-t-{number}") for number in range(4)]
        await asyncio.gather(*(client.create(request) for request in requests))
        times_s = api.times_s[LAUNCH]
        assert len(times_s) == 4
        assert all(12 < later - earlier < 15 for earlier, later in pairwise(times_s))

    @in_virtual_time
    async def test_other_calls_do_not_wait_for_launches(self, api: LambdaApi, client: LambdaClient) -> None:
        api.routes["GET instances"] = ok([])
        orders = [asyncio.create_task(client.create(replace(REQUEST, label=f"l-{n}"))) for n in range(3)]
        await asyncio.sleep(8)
        await client.list_machines()
        assert seconds() < 10
        await asyncio.gather(*orders)

    @in_virtual_time
    async def test_a_launch_that_never_got_its_turn_left_nothing_behind(
        self, api: LambdaApi, client: LambdaClient
    ) -> None:
        requests = [replace(REQUEST, label=f"l-{number}") for number in range(12)]
        results = await asyncio.gather(*(client.create(request) for request in requests), return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        assert failures
        for error in failures:
            assert isinstance(error, RateLimited)
            assert error.may_exist is False
            assert error.retry_after_s is not None
        assert len(api.sent(LAUNCH)) == len(requests) - len(failures)


class TestOffers:
    @in_virtual_time
    async def test_types_come_as_a_map(self, api: LambdaApi, client: LambdaClient) -> None:
        sold_out = {**H100, "name": "gpu_8x_a100", "description": "8x A100 (40 GB SXM4)", "specs": {"gpus": 8}}
        cpu = {**H100, "name": "cpu_4x_general", "specs": {"gpus": 0}}
        api.routes["GET instance-types"] = ok(
            {
                "gpu_1x_h100_sxm5": {"instance_type": H100, "regions_with_capacity_available": [TEXAS]},
                "gpu_8x_a100": {"instance_type": sold_out, "regions_with_capacity_available": []},
                "cpu_4x_general": {"instance_type": cpu, "regions_with_capacity_available": [TEXAS]},
                "strange": None,
            }
        )
        offers = await client.fetch_offers()
        assert [(offer.id, offer.gpu, offer.price_micro_usd_per_hour, offer.stock) for offer in offers] == [
            ("lambda:gpu_1x_h100_sxm5:us-south-2", "H100-SXM", 4_290_000, Stock.LOW),
            ("lambda:gpu_8x_a100:-", "A100-40GB-SXM", 4_290_000, Stock.NONE),
        ]
        assert len(api.requests) == 1
        assert seconds() == 0

    @in_virtual_time
    async def test_a_list_is_not_an_empty_market(self, api: LambdaApi, client: LambdaClient) -> None:
        api.routes["GET instance-types"] = ok([])
        with pytest.raises(Malformed):
            await client.fetch_offers()


class TestImagesAndRegions:
    @in_virtual_time
    async def test_images(self, api: LambdaApi, client: LambdaClient) -> None:
        rows = [
            {"id": f"{family}-{region}", "name": family, "family": family, "region": {"name": region}}
            for family in ("ubuntu-24-04", "lambda-stack-24-04")
            for region in ("us-south-2", "us-east-1")
        ]
        api.routes["GET images"] = ok(rows)
        for offer in (None, OFFER):
            images = await client.list_os_images(offer)
            assert [image.value for image in images] == ["lambda-stack-24-04", "ubuntu-24-04"]

    @in_virtual_time
    async def test_regions(self, api: LambdaApi, client: LambdaClient) -> None:
        api.routes["GET regions"] = ok([TEXAS])
        (region,) = await client.list_regions()
        assert (region.code, region.name, region.country) == ("us-south-2", "North Texas, USA", "US")
