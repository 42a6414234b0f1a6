"""The file of the mock cloud: whose it is, what becomes of a damaged one, and that processes share it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from mock_stage import request

from gputui.model.errors import Malformed, Transient
from gputui.providers.mock import cloud
from gputui.providers.mock.client import MockClient
from gputui.providers.registry import ClientContext
from gputui.sim.vtime import START_MS, VirtualClock, in_virtual_time


class FixedClock:
    def __init__(self, now_ms: int = START_MS) -> None:
        self.at_ms = now_ms

    def now_ms(self) -> int:
        return self.at_ms


@pytest.fixture
def client(tmp_path: Path) -> MockClient:
    return MockClient(ClientContext(VirtualClock(), tmp_path / "state"))


class TestFile:
    @in_virtual_time
    async def test_is_for_its_owner_only(self, client: MockClient, tmp_path: Path) -> None:
        await client.create(request())
        folder = tmp_path / "state"
        assert {path.name for path in folder.iterdir()} == {cloud.FILE_NAME, "mock-cloud.lock"}
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    @in_virtual_time
    async def test_reading_needs_no_file_and_makes_none(self, client: MockClient, tmp_path: Path) -> None:
        assert await client.list_machines() == []
        assert await client.fetch_offers()
        assert not (tmp_path / "state").exists()

    @pytest.mark.parametrize(
        "text", ["{", "[]", "{}", '{"format": 99}', json.dumps({"format": 1, "machines": [{"id": "x"}]})]
    )
    @in_virtual_time
    async def test_damage_is_said_and_nothing_is_overwritten(
        self, client: MockClient, tmp_path: Path, text: str
    ) -> None:
        file = tmp_path / "state" / cloud.FILE_NAME
        file.parent.mkdir()
        file.write_text(text)
        for call in (client.list_machines(), client.create(request())):
            with pytest.raises(Malformed) as caught:
                await call
            assert caught.value.may_exist is False
            assert cloud.FILE_NAME in str(caught.value)
        assert file.read_text() == text

    @in_virtual_time
    async def test_waits_for_the_lock_but_not_for_ever(self, client: MockClient, tmp_path: Path) -> None:
        await client.create(request())
        descriptor = os.open(tmp_path / "state" / "mock-cloud.lock", os.O_RDWR)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        waiting = asyncio.create_task(client.create(request(2)))
        await asyncio.sleep(3)
        assert not waiting.done()
        os.close(descriptor)
        await waiting
        descriptor = os.open(tmp_path / "state" / "mock-cloud.lock", os.O_RDWR)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(Transient) as caught:
            await client.create(request(3))
        os.close(descriptor)
        assert caught.value.may_exist is False
        assert len(await client.list_machines()) == 2

    @in_virtual_time
    async def test_a_folder_that_cannot_be_used_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(Transient):
            await MockClient(ClientContext(VirtualClock(), tmp_path / "file")).create(request())

    def test_processes_side_by_side_lose_nothing(self, tmp_path: Path) -> None:
        program = (
            "import asyncio, sys\n"
            "from pathlib import Path\n"
            "from gputui.model.types import CreateRequest\n"
            "from gputui.providers.mock.catalogue import LISTINGS, offer_of\n"
            "from gputui.providers.mock.client import MockClient\n"
            "from gputui.providers.registry import ClientContext\n"
            "class Clock:\n"
            f"    def now_ms(self): return {START_MS}\n"
            "async def main():\n"
            "    client = MockClient(ClientContext(Clock(), Path(sys.argv[1])))\n"
            f"    offer = offer_of(LISTINGS['mock:1x-l4:us-east'], {START_MS})\n"
            "    for number in range(20):\n"
            "        name = f'{sys.argv[2]}-{number}'\n"
            "        await client.create(CreateRequest(offer, name, name, ''))\n"
            "asyncio.run(main())\n"
        )
        children = [
            subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name], stderr=subprocess.PIPE)
            for name in "ab"
        ]
        for child in children:
            _, errors = child.communicate(timeout=60)
            assert (child.returncode, errors) == (0, b"")
        found = asyncio.run(MockClient(ClientContext(FixedClock(), tmp_path)).list_machines())
        assert {machine.label for machine in found} == {f"{name}-{number}" for name in "ab" for number in range(20)}
