"""What the containers of the simulated RunPod print, and the stream that tells it."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx
import pytest
from runpod_stage import CONTAINER_S, NONCE, PUBLIC_KEY, RunPodApi

from gputui.sim.vtime import in_virtual_time

BEGIN = f"gputui-begin {NONCE}"
END = f"gputui-end {NONCE} code=0 reason=exited"
ID = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/\d{12}")


@pytest.fixture
def api() -> RunPodApi:
    return RunPodApi()


def short(duration_s: float = 20, exit_code: int = 0, **more: str) -> dict[str, str]:
    return {"MOCK_DURATION_S": f"{duration_s}", "MOCK_EXIT_CODE": f"{exit_code}", **more}


# What a container prints


@in_virtual_time
async def test_a_job_from_begin_to_end(api: RunPodApi) -> None:
    pod_id = await api.start_job(env=short(20, 3))
    assert await api.printed(pod_id) == []
    await asyncio.sleep(CONTAINER_S + 5)
    part = await api.printed(pod_id)
    assert (part[0], part[2]) == (BEGIN, "$ train")
    assert not any("gputui-end" in line for line in part)
    await asyncio.sleep(40)
    end = f"gputui-end {NONCE} code=3 reason=exited"
    whole = await api.printed(pod_id)
    assert whole[: len(part)] == part
    assert [line for line in whole if line.startswith("gputui-")] == [BEGIN, end]
    assert whole[-1] == end
    assert await api.status(pod_id) == "RUNNING"
    await asyncio.sleep(180)
    assert (await api.printed(pod_id))[len(whole) :] == [end] * 3


@in_virtual_time
async def test_a_job_that_runs_too_long_is_ended(api: RunPodApi) -> None:
    limits = {"GPUTUI_MAX_DURATION_S": "30", "GPUTUI_GRACE_S": "10"}
    obedient = await api.start_job(env={**short(300), **limits})
    stubborn = await api.start_job(env={**short(300, MOCK_IGNORE_TERM="1"), **limits})
    in_grace = await api.start_job(env={**short(35, 5, MOCK_IGNORE_TERM="1"), **limits})
    in_time = await api.start_job(env={**short(30), **limits})
    await asyncio.sleep(60)
    said = {pod_id: (await api.printed(pod_id))[-1] for pod_id in (obedient, stubborn, in_grace, in_time)}
    assert said[obedient] == f"gputui-end {NONCE} code=143 reason=max_duration"
    assert said[stubborn] == f"gputui-end {NONCE} code=137 reason=max_duration"
    assert said[in_grace] == f"gputui-end {NONCE} code=5 reason=max_duration"
    assert said[in_time] == END


@pytest.mark.parametrize(
    "changes",
    [
        {"env": {"MOCK_DURATION_S": "5"}, "args": "bash -lc 'python train.py'"},
        {"args": None},
        {"args": "sleep infinity"},
        {"args": "sh -c 'unbalanced"},
        {"env": {"GPUTUI_NONCE": NONCE}, "args": "sh -c true"},
    ],
)
@in_virtual_time
async def test_any_other_container_idles(api: RunPodApi, changes: dict[str, Any]) -> None:
    body = api.job()
    body.update(changes)
    body = {name: value for name, value in body.items() if value is not None}
    if "env" not in changes:
        assert body["env"]["GPUTUI_NONCE"]
    pod_id = (await api.ok("POST", "pods", 201, json=body))["id"]
    await asyncio.sleep(300)
    lines = await api.printed(pod_id)
    assert len(lines) == 2
    assert all(line.startswith("== ") for line in lines)


@in_virtual_time
async def test_arguments_may_be_a_json_object(api: RunPodApi) -> None:
    pod_id = await api.start_job(args='{"entrypoint": ["/bin/sh"], "cmd": ["-c", "true"]}', env=short(5))
    await asyncio.sleep(30)
    assert (await api.printed(pod_id))[-1] == END


@in_virtual_time
async def test_a_container_restarted_in_the_middle_of_its_job_says_so(api: RunPodApi) -> None:
    api.world.faults.set(runpod_container_restarts={"count": 1})
    pod_id = await api.start_job(env=short(20))
    await asyncio.sleep(CONTAINER_S + 10)
    lines = await api.printed(pod_id)
    restarted = f"gputui-end {NONCE} code=- reason=restarted"
    assert [line for line in lines if line.startswith("gputui-")] == [BEGIN, restarted]
    assert lines[-1] == restarted
    pod = await api.get(pod_id)
    assert (pod["status"], pod["runtime"]["uptime"] < 10) == ("RUNNING", True)
    system = [event.line for event in await api.log(pod_id, source="system")]
    assert system[-2:] == ["start container for org/image:1: begin"] * 2
    await asyncio.sleep(120)
    assert (await api.printed(pod_id))[-2:] == [restarted] * 2


@in_virtual_time
async def test_a_crash_loop_goes_on(api: RunPodApi) -> None:
    api.world.faults.set(runpod_container_restarts=1.0, runpod_restart_times=4, runpod_restart_after_s=3)
    pod_id = await api.start_job(env=short(60))
    await asyncio.sleep(CONTAINER_S + 20)
    restarted = f"gputui-end {NONCE} code=- reason=restarted"
    assert [line for line in await api.printed(pod_id) if line.startswith("gputui-")] == [BEGIN, *[restarted] * 4]


@in_virtual_time
async def test_a_restart_after_the_jobs_end_remembers_it(api: RunPodApi) -> None:
    pod_id = await api.start_job(env=short(5, 7))
    await asyncio.sleep(CONTAINER_S + 10)
    await api.act(pod_id, "restart")
    await asyncio.sleep(1)
    assert [line for line in await api.printed(pod_id) if "gputui-" in line] == [
        BEGIN,
        *[f"gputui-end {NONCE} code=7 reason=exited"] * 2,
    ]


@in_virtual_time
async def test_what_loses_the_container_disk_runs_the_job_again(api: RunPodApi) -> None:
    pod_id = await api.start_job(env=short(5))
    await asyncio.sleep(CONTAINER_S + 10)
    await api.act(pod_id, "stop")
    await api.act(pod_id, "start")
    await asyncio.sleep(10)
    api.world.faults.set(runpod_restart_wipes_disk=True)
    await api.act(pod_id, "restart")
    await asyncio.sleep(10)
    assert [line for line in await api.printed(pod_id) if "gputui-" in line] == [BEGIN, END] * 3


@in_virtual_time
async def test_output_without_a_final_line_end_shares_its_line_with_the_end(api: RunPodApi) -> None:
    plain = await api.start_job(env=short(5))
    api.world.faults.set(runpod_no_final_newline={"count": 1})
    joined = await api.start_job(env=short(5))
    await asyncio.sleep(CONTAINER_S + 10)
    lines = await api.printed(plain)
    assert await api.printed(joined) == [*lines[:-2], lines[-2] + END]


@pytest.mark.parametrize("at", ["begin", "middle", "end"])
@in_virtual_time
async def test_a_gap_in_the_log(api: RunPodApi, at: str) -> None:
    whole = await api.start_job(env=short(30))
    api.world.faults.set(runpod_log_gap={"count": 1}, runpod_log_gap_at=at)
    holed = await api.start_job(env=short(30))
    await asyncio.sleep(CONTAINER_S + 40)
    all_lines, some = await api.printed(whole), await api.printed(holed)
    lost = [line for line in all_lines if line not in some]
    assert len(all_lines) / 5 < len(lost) < len(all_lines) / 2
    assert (BEGIN in lost, END in lost) == (at == "begin", at == "end")
    await asyncio.sleep(60)
    assert (await api.printed(holed))[-1] == END


@in_virtual_time
async def test_a_stop_ends_what_is_printed(api: RunPodApi) -> None:
    pod_id = await api.start_job(env=short(60))
    await asyncio.sleep(CONTAINER_S + 5)
    before = await api.printed(pod_id)
    await api.act(pod_id, "stop")
    await asyncio.sleep(120)
    assert await api.printed(pod_id) == before
    assert [event.line for event in await api.log(pod_id)][-2:] == ["stop container", "remove container"]
    api.world.faults.set(runpod_exited_log="missing")
    await api.refused(404, "GET", f"pods/{pod_id}/logs")


# What the host logs


@in_virtual_time
async def test_the_system_log_tells_of_pull_and_start(api: RunPodApi) -> None:
    pod_id = await api.start_job(mounts={"persistent": {"size": 20, "path": "/workspace"}})
    await asyncio.sleep(5)
    early = [event.line for event in await api.log(pod_id, source="system")]
    await asyncio.sleep(CONTAINER_S)
    lines = [event.line for event in await api.log(pod_id, source="system")]
    assert lines[: len(early)] == early
    assert lines[:3] == ["create 20GB volume", "create container org/image:1", "1: Pulling from org/image"]
    assert lines[-2:] == ["Status: Downloaded newer image for org/image:1", "start container for org/image:1: begin"]
    await api.act(pod_id, "stop")
    await api.act(pod_id, "start")
    await asyncio.sleep(10)
    again = [event.line for event in await api.log(pod_id, source="system")][len(lines) :]
    assert again == [
        "stop container",
        "remove container",
        "Status: Image is up to date for org/image:1",
        "start container for org/image:1: begin",
    ]


@in_virtual_time
async def test_an_image_that_does_not_exist_is_told_only_there(api: RunPodApi) -> None:
    pod_id = await api.start_job(image="org/image:missing")
    await asyncio.sleep(150)
    pod = await api.get(pod_id)
    assert (pod["status"], pod["runtime"], pod["cost"] > 0) == ("RUNNING", None, True)
    lines = [event.line for event in await api.log(pod_id)]
    assert [line.startswith("error pulling image: ") for line in lines] == [False, True, True, True]
    await api.act(pod_id, "stop")
    await asyncio.sleep(300)
    assert [event.line for event in await api.log(pod_id)] == lines


@in_virtual_time
async def test_a_stuck_host_says_nothing_and_costs(api: RunPodApi) -> None:
    api.world.faults.set(runpod_stuck_host={"count": 1})
    pod_id = await api.start_job(env=short(5))
    await asyncio.sleep(1000)
    pod = await api.get(pod_id)
    assert (pod["status"], pod["runtime"]) == ("RUNNING", None)
    assert await api.log(pod_id) == []
    assert api.world.machines[pod_id].bill_usd(api.world.now_ms()) > 0
    await asyncio.sleep(300)
    assert (await api.printed(pod_id))[-1].startswith("gputui-end")


# The stream


@in_virtual_time
async def test_lines_come_the_moment_they_are_printed(api: RunPodApi) -> None:
    pod_id = await api.start_job(env=short(5))
    async with api.logs(pod_id, tail=0, source="container") as reader:
        response = reader.response
        assert [response.headers[name] for name in ("cache-control", "connection", "x-accel-buffering")] == [
            "no-cache",
            "keep-alive",
            "no",
        ]
        while (event := await reader.next()).line != END:
            assert ID.fullmatch(event.id)
            assert event.data is not None
            assert set(event.data) == {"ts", "source", "line"}
            assert event.id.startswith(event.data["ts"])
        ended_ms = api.world.now_ms()
        assert (await reader.next()).line == END
        assert api.world.now_ms() == ended_ms + 60_000


@in_virtual_time
async def test_the_backfill(api: RunPodApi) -> None:
    pod_id = await api.start_job(env=short(120))
    await asyncio.sleep(CONTAINER_S + 150)
    everything = await api.log(pod_id, tail=5000)
    assert len(everything) > 200
    assert await api.log(pod_id) == everything[-100:]
    assert await api.log(pod_id, tail=7) == everything[-7:]
    assert await api.log(pod_id, tail=0) == []
    system = [event for event in everything if event.data and event.data["source"] == "system"]
    assert await api.log(pod_id, tail=5, source="system") == system[-5:]
    for params in ({"tail": "5001"}, {"tail": "-1"}, {"tail": "x"}, {"source": "stdout"}, {"since": "yesterday"}):
        problem = await api.problem(422, "GET", f"pods/{pod_id}/logs", params=params)
        assert problem["errors"]


@pytest.mark.parametrize("numbers", ["running", "per_second"])
@in_virtual_time
async def test_a_stream_goes_on_after_the_last_id(api: RunPodApi, numbers: str) -> None:
    api.world.faults.set(runpod_log_numbers=numbers)
    pod_id = await api.start_job(env=short(60))
    await asyncio.sleep(CONTAINER_S + 65)
    everything = await api.log(pod_id, tail=5000)
    assert len({event.id for event in everything}) == len(everything)
    assert [event.id for event in everything] == sorted(event.id for event in everything)
    for place in (0, 20, 60, len(everything) - 1):
        after = await api.log(pod_id, everything[place].id, tail=3, since="2020-01-01T00:00:00Z")
        assert after == everything[place + 1 :]
    ts = everything[40].id.partition("/")[0]
    later = [event for event in everything if event.id.partition("/")[0] > ts]
    assert await api.log(pod_id, since=ts) == later
    assert await api.log(pod_id, ts) == later
    await api.refused(422, "GET", f"pods/{pod_id}/logs", headers={"Last-Event-ID": "17"})


@in_virtual_time
async def test_comments_keep_a_silent_stream_alive(api: RunPodApi) -> None:
    pod_id = (await api.create())["id"]
    async with api.logs(pod_id, source="container") as reader:
        await reader.next()
        await reader.next()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(100):
                await reader.next()
        assert reader.comments == 6
    api.world.faults.set(runpod_keepalive_s=200)
    async with api.logs(pod_id, tail=0) as reader:
        with pytest.raises(httpx.ReadTimeout):
            await reader.next()


@in_virtual_time
async def test_a_stream_that_stalls_until_it_is_opened_again(api: RunPodApi) -> None:
    pod_id = await api.start_job(env=short(30))
    await asyncio.sleep(CONTAINER_S + 5)
    api.world.faults.set(runpod_log_stalls={"count": 1})
    async with api.logs(pod_id, source="container") as stalled:
        seen = await stalled.until_quiet(60)
    assert END not in [event.line for event in seen]
    rest = await api.log(pod_id, seen[-1].id, source="container")
    assert [event.line for event in [*seen, *rest]] == await api.printed(pod_id)
    assert rest[-1].line == END

    api.world.faults.set(runpod_log_stalls={"count": 1}, runpod_stalled_keepalives=False)
    async with api.logs(pod_id) as stalled:
        with pytest.raises(httpx.ReadTimeout):
            await stalled.until_quiet(100)


@in_virtual_time
async def test_a_stream_that_breaks(api: RunPodApi) -> None:
    pod_id = await api.start_job(env=short(60))
    await asyncio.sleep(CONTAINER_S)
    api.world.faults.set(runpod_log_cut={"count": 1}, runpod_log_cut_after_s=8)
    opened_ms = api.world.now_ms()
    async with api.logs(pod_id) as reader:
        with pytest.raises(httpx.ReadError):
            await reader.until_quiet(60)
    assert api.world.now_ms() == opened_ms + 8000


@in_virtual_time
async def test_frames_that_come_twice_or_with_an_id_alone(api: RunPodApi) -> None:
    pod_id = await api.start_job(env=short(5))
    await asyncio.sleep(CONTAINER_S + 10)
    clean = await api.log(pod_id, source="container")
    api.world.faults.set(runpod_log_duplicates=0.5, runpod_log_id_frames=0.5)
    noisy = await api.log(pod_id, source="container")
    assert len(noisy) > len(clean) * 1.4
    assert any(event.data is None for event in noisy)
    assert list(dict.fromkeys(event.id for event in noisy)) == [event.id for event in clean]


@in_virtual_time
async def test_a_log_that_is_not_there(api: RunPodApi) -> None:
    await api.refused(404, "GET", "pods/nobody/logs")
    api.world.faults.set(eventual_get_s=2)
    pod_id = (await api.create())["id"]
    await api.refused(404, "GET", f"pods/{pod_id}/logs")
    await asyncio.sleep(2)
    async with api.logs(pod_id) as reader:
        assert (await reader.next()).line.startswith("create container")
        await api.ok("DELETE", f"pods/{pod_id}", 204)
        await api.refused(404, "GET", f"pods/{pod_id}/logs")
        assert len(await reader.until_quiet(300)) == 2, "what it had logged by then"
    other = RunPodApi("sim-b", behind=api)
    mine = (await api.create())["id"]
    await asyncio.sleep(2)
    await other.refused(404, "GET", f"pods/{mine}/logs")


@in_virtual_time
async def test_a_dead_host_ends_the_log_and_a_killed_pod_does_not_run_on(api: RunPodApi) -> None:
    pod_id = await api.start_job(env=short(60))
    await asyncio.sleep(CONTAINER_S + 5)
    before = await api.printed(pod_id)
    api.world.kill(pod_id, "offline")
    await asyncio.sleep(60)
    assert await api.printed(pod_id) == before


@in_virtual_time
async def test_keys_do_not_matter_to_a_job(api: RunPodApi) -> None:
    await api.ok("PUT", "account/ssh-keys", json={"keys": [PUBLIC_KEY]})
    pod_id = await api.start_job(startSsh=True, ports=["22/tcp"])
    await asyncio.sleep(60)
    pod = await api.get(pod_id)
    assert pod["env"]["PUBLIC_KEY"] == PUBLIC_KEY
    assert pod["ssh"]["direct"] is not None
    assert not api.world.answers_ssh(pod_id)
