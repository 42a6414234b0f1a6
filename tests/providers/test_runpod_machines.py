"""What the RunPod client reads of pods, alone and for many at once; how it stops, starts and ends them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from client_stage import failure_of, seconds
from runpod_answers import ACT, END, JOB, LIST, ONE, POD, RunPodApi, ok, refused

from gputui.model.errors import AuthError, Conflict, Gone, Malformed, NoCapacity, NotFunded, NotSupported, ProviderError
from gputui.model.states import MachineState
from gputui.providers.runpod import calls
from gputui.providers.runpod.client import RunPodClient
from gputui.sim.vtime import in_virtual_time


@pytest.fixture
def api() -> RunPodApi:
    return RunPodApi()


class TestMachines:
    @in_virtual_time
    async def test_all_pages_and_cluster_pods(self, api: RunPodApi, client: RunPodClient) -> None:
        pages = {
            None: ok({"pods": [POD], "pagination": {"nextCursor": "c2", "hasNextPage": True}}),
            "c2": ok({"pods": [], "pagination": {"nextCursor": "c3", "hasNextPage": True}}),
            "c3": ok({"pods": [{**POD, "id": "p2"}, {**POD, "id": "p3", "status": "TERMINATED"}], "pagination": None}),
        }
        api.routes[LIST] = lambda request: pages[request.url.params.get("cursor")]
        assert [machine.id for machine in await client.list_machines()] == [POD["id"], "p2"]
        assert all(request.url.params["includeClusterPods"] == "true" for request in api.requests)

    @pytest.mark.parametrize(
        "pagination",
        [{"nextCursor": "c2", "hasNextPage": True}, {"nextCursor": None, "hasNextPage": True}, {"hasNextPage": True}],
    )
    @in_virtual_time
    async def test_a_list_that_stops_short_is_no_list(
        self, api: RunPodApi, client: RunPodClient, pagination: dict[str, Any]
    ) -> None:
        api.routes[LIST] = ok({"pods": [POD], "pagination": pagination})
        error = await failure_of(client.list_machines())
        assert isinstance(error, Malformed)
        assert len(api.requests) <= 2

    @in_virtual_time
    async def test_a_list_without_end_ends(
        self, api: RunPodApi, client: RunPodClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(calls, "MAX_PAGES", 5)
        api.routes[LIST] = lambda request: ok(
            {"pods": [POD], "pagination": {"nextCursor": str(len(api.requests)), "hasNextPage": True}}
        )
        assert isinstance(await failure_of(client.list_machines()), Malformed)
        assert len(api.requests) == 5

    @in_virtual_time
    async def test_a_pod_that_cannot_be_read_is_not_left_out(self, api: RunPodApi, client: RunPodClient) -> None:
        api.routes[LIST] = ok({"pods": [POD, {"name": "no id"}]})
        assert isinstance(await failure_of(client.list_machines()), Malformed)

    @in_virtual_time
    async def test_one(self, api: RunPodApi, client: RunPodClient) -> None:
        assert (await client.get(POD["id"])).label == JOB.label
        assert api.names == [ONE]
        assert seconds() == 0

    @pytest.mark.parametrize("machine_id", ["", ".", "..", "/", " "])
    @in_virtual_time
    async def test_an_id_that_leads_elsewhere_is_gone(
        self, api: RunPodApi, client: RunPodClient, machine_id: str
    ) -> None:
        for call in (client.get(machine_id), client.terminate(machine_id, idempotency_key="t")):
            assert isinstance(await failure_of(call), Gone)
        assert api.requests == []

    @in_virtual_time
    async def test_a_strange_id_stays_in_its_place(self, api: RunPodApi, client: RunPodClient) -> None:
        api.answer_everything(refused(404))
        await failure_of(client.get("a/../b?c"))
        assert api.requests[0].url.raw_path == b"/v2/pods/a%2F..%2Fb%3Fc"

    @in_virtual_time
    async def test_gone(self, api: RunPodApi, client: RunPodClient) -> None:
        api.routes[ONE] = api.routes[END] = refused(404, "resource not found")
        assert isinstance(await failure_of(client.get(POD["id"])), Gone)
        assert isinstance(await failure_of(client.terminate(POD["id"], idempotency_key="t")), Gone)

    @in_virtual_time
    async def test_a_cluster_pod_cannot_be_ended(self, api: RunPodApi, client: RunPodClient) -> None:
        api.routes[END] = refused(409, "pod belongs to a cluster")
        assert isinstance(await failure_of(client.terminate(POD["id"], idempotency_key="t")), Conflict)

    @in_virtual_time
    async def test_terminate(self, api: RunPodApi, client: RunPodClient) -> None:
        await client.terminate(POD["id"], idempotency_key="t")
        assert api.names == [END]


class TestLooks:
    @in_virtual_time
    async def test_many_looks_are_few_questions(self, api: RunPodApi, client: RunPodClient) -> None:
        ids = [f"p{number}" for number in range(10)]
        api.routes[LIST] = ok({"pods": [{**POD, "id": machine_id} for machine_id in ids] + [{"name": "unreadable"}]})

        async def watch(machine_id: str) -> None:
            for _ in range(12):
                assert (await client.get(machine_id)).id == machine_id
                await asyncio.sleep(5)

        await asyncio.gather(*map(watch, ids))
        assert set(api.names) == {LIST}
        assert 12 <= len(api.requests) <= 20

    @in_virtual_time
    async def test_what_is_told_was_read_after_the_question(self, api: RunPodApi, client: RunPodClient) -> None:
        await asyncio.gather(client.get(POD["id"]), client.get(POD["id"]))
        api.routes[ONE] = ok({**POD, "status": "EXITED"})
        assert (await client.get(POD["id"])).state is MachineState.STOPPED

    @in_virtual_time
    async def test_what_the_list_does_not_know_is_asked_for_by_itself(
        self, api: RunPodApi, client: RunPodClient
    ) -> None:
        api.routes[LIST] = ok({"pods": []})
        api.routes["GET v2/pods/p2"] = refused(404)
        found, missing = await asyncio.gather(client.get(POD["id"]), client.get("p2"), return_exceptions=True)
        assert not isinstance(found, BaseException)
        assert found.id == POD["id"]
        assert isinstance(missing, Gone)

    @in_virtual_time
    async def test_everybody_hears_of_a_failure(self, api: RunPodApi, client: RunPodClient) -> None:
        api.routes[LIST] = refused(401)
        results = await asyncio.gather(client.get("p1"), client.get("p2"), return_exceptions=True)
        assert [type(result) for result in results] == [AuthError, AuthError]

    @in_virtual_time
    async def test_who_gives_up_does_not_take_the_answer_from_others(
        self, api: RunPodApi, client: RunPodClient
    ) -> None:
        await client.get(POD["id"])
        impatient = asyncio.create_task(client.get(POD["id"]))
        patient = asyncio.create_task(client.get(POD["id"]))
        await asyncio.sleep(1)
        impatient.cancel()
        assert (await patient).id == POD["id"]


class TestStopAndStart:
    @in_virtual_time
    async def test_stop_and_start(self, api: RunPodApi, client: RunPodClient) -> None:
        api.routes[ONE] = ok({**POD, "mounts": {"persistent": {"size": 20, "path": "/workspace"}}})
        api.routes[ACT] = ok(POD)
        await client.stop_machine(POD["id"])
        await client.start_machine(POD["id"])
        assert api.bodies(ACT) == [{"action": "stop"}, {"action": "start"}]

    @in_virtual_time
    async def test_a_stop_that_would_erase_everything_is_not_sent(self, api: RunPodApi, client: RunPodClient) -> None:
        assert isinstance(await failure_of(client.stop_machine(POD["id"])), NotSupported)
        assert api.sent(ACT) == []

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (refused(400, "There are not enough free GPUs on the host machine to start this pod."), NoCapacity),
            (refused(409, "action start is not valid for status RUNNING"), Conflict),
            (refused(404), Gone),
            (refused(402), NotFunded),
        ],
    )
    @in_virtual_time
    async def test_a_start_that_fails(
        self, api: RunPodApi, client: RunPodClient, answer: Any, kind: type[ProviderError]
    ) -> None:
        api.routes[ACT] = answer
        error = await failure_of(client.start_machine(POD["id"]))
        assert (type(error), error.may_exist) == (kind, False)
