"""Logs: a request has the log's file laid at a public address, where it can be read a moment later."""

from __future__ import annotations

from gputui.sim.gate import Answer, Call
from gputui.sim.vastai.errors import VastError, refused
from gputui.sim.vastai.fields import body_of, number_of, text
from gputui.sim.vastai.instances import Instances
from gputui.sim.vastai.state import Caller, Contract, LogFile, VastState
from gputui.sim.workload import WorkloadRun, workload_from

BUCKET = "/public.vast.ai/instance_logs"
DEFAULT_TAIL = 1000

_TEXT = {"content-type": "text/plain"}
_XML = {"content-type": "application/xml"}


class Logs:
    """Log requests and their files. `mount_path` is where the simulator's files lie, below the server's own address."""

    def __init__(self, state: VastState, instances: Instances, mount_path: str) -> None:
        self._state = state
        self._instances = instances
        self._mount_path = mount_path

    async def request(self, call: Call, caller: Caller) -> Answer:
        """Serve `PUT /instances/request_logs/{id}/`."""
        contract = self._instances.find(call, caller, refused(404, "invalid_id", "Invalid instance id."))
        body = body_of(call)
        wanted, tail = text(body, "filter"), number_of(body.get("tail") or DEFAULT_TAIL)
        if tail is None or tail < 0:
            raise refused(400, "invalid_args", "Invalid args: 'tail' must be a number")
        is_daemon = body.get("daemon_logs") == "true"
        now_ms = call.world.now_ms()
        lines = _daemon_lines(contract) if is_daemon else _lines(contract, now_ms)
        lines = [line for line in lines if wanted is None or wanted in line]
        lines = lines[max(0, len(lines) - int(tail)) :]
        name = f"{call.world.new_hex(40)}.log"
        ready_ms = now_ms + round(call.world.faults.number("log_upload_s") * 1000)
        self._state.files[name] = LogFile("".join(f"{line}\n" for line in lines).encode(), ready_ms)
        base = call.request.base_url
        url = f"{base.scheme}://{base.netloc}{self._mount_path}{BUCKET}/{name}"
        return Answer({"success": True, "result_url": url, "msg": "Logs are uploading, wait and view the result_url"})

    async def read_file(self, call: Call) -> Answer:
        """Serve the file of a log as object storage does: with no key, and with none only."""
        if "authorization" in call.request.headers:
            raise _storage_error(400, "InvalidArgument", "Unsupported Authorization Type")
        file = self._state.files.get(call.path["name"])
        if file is None:
            raise _storage_error(404, "NoSuchKey", "The specified key does not exist.")
        if call.world.now_ms() < file.ready_ms:
            if call.world.faults.choice("log_pending_status") == "404":
                raise _storage_error(404, "NoSuchKey", "The specified key does not exist.")
            raise _storage_error(403, "AccessDenied", "Access Denied")
        return Answer(file.content, headers=_TEXT)


def _lines(contract: Contract, now_ms: int) -> list[str]:
    """Return what a container has printed: its own command's output, or that of Vast.ai's start-up."""
    running_ms = contract.machine.running_ms(now_ms)
    if running_ms is None:
        return []
    if not contract.has_ssh:
        workload = workload_from(contract.image, contract.command, dict(contract.env))
        return WorkloadRun(workload, running_ms).output(now_ms).decode().splitlines()
    lines = [
        "== simulated container: nothing here is executed",
        f"instance {contract.id}: image {contract.image}",
        "starting sshd on port 22",
        f"authorized keys: {len(contract.machine.authorized_keys)}",
    ]
    if contract.onstart:
        lines.append(f"onstart: {len(contract.onstart)} characters, not executed")
    return lines


def _daemon_lines(contract: Contract) -> list[str]:
    return [f"kaalia: contract {contract.id} on machine {contract.listing.fields['machine_id']}"]


def _storage_error(status: int, code: str, said: str) -> VastError:
    page = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{said}</Message></Error>'
    return VastError(status, page, _XML)
