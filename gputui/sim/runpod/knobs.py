"""What RunPod's documents leave open, and faults that only this API can have."""

from __future__ import annotations

from gputui.sim.faults import Knob, chance, choice, flag, number, words

KNOBS: tuple[Knob, ...] = (
    # Who is asking, and how often.
    flag("runpod_blocks_agents", True, "403 'error code: 1010' for no User-Agent or that of Python's urllib"),
    choice("runpod_key_scope", ("all", "read_only", "no_graphql", "none"), "what the keys may do; else 403"),
    number("runpod_per_minute", 60.0, "how many requests a user may make in a minute, 0 for any number"),
    number("runpod_per_hour", 3000.0, "how many requests a user may make in an hour, 0 for any number"),
    number("runpod_per_day", 50_000.0, "how many requests a user may make in a day, 0 for any number"),
    choice("runpod_api", ("august", "september"), "the API as of its OpenAPI document, or a month later: pages, host filters"),
    choice("runpod_graphql", ("live", "410", "404"), "whether GraphQL still answers"),
    # Creating.
    number("runpod_spend_limit_usd", 80.0, "dollars per hour that an account's pods and volumes may cost together"),
    flag("runpod_needs_credit", True, "whether a pod is refused (402) without credit for an hour of it"),
    number("runpod_default_disk_gb", 50.0, "the container disk of a pod made without saying how much"),
    flag("runpod_unknown_gpu", True, "whether the catalog lists the sentinel GPU type called unknown"),
    flag("runpod_placeless_community", False, "whether community hosts belong to no data center"),
    # A pod's life.
    number("runpod_container_after_s", 2.0, "how long a pod shows RUNNING without a runtime before its container starts"),
    choice("runpod_no_runtime_shows", ("null", "empty"), "the runtime of a RUNNING pod that has no container yet"),
    number("runpod_placed_after_s", 0.0, "how long after it is STARTING a pod shows its data center"),
    number("runpod_direct_after_s", 1.0, "how long after its container starts a pod shows ports and ssh.direct"),
    chance("runpod_no_public_port", "the public ports of a pod never appear"),
    chance("runpod_stuck_host", "a pod is RUNNING and billed, without runtime or system log, for runpod_stuck_s"),
    number("runpod_stuck_s", 1200.0, "how long a stuck host takes"),
    chance("runpod_start_refused", "a start finds too few free GPUs on the pod's host"),
    choice("runpod_refused_start_status", ("400", "409"), "the status of a start that finds too few free GPUs"),
    choice("runpod_offline_shows", ("running", "exited"), "the status of a pod whose host is unreachable"),
    number("runpod_terminated_readable_s", 0.0, "how long a terminated pod can be read, as TERMINATED, and not 404"),
    words("runpod_sshd_images", ("runpod/",), "how the names of images begin whose default command starts an sshd"),
    # The container.
    chance("runpod_container_restarts", "a new pod's container is restarted runpod_restart_after_s after it started"),
    number("runpod_restart_after_s", 5.0, "when a container that is restarted is"),
    number("runpod_restart_times", 1.0, "how often it is, each time runpod_restart_after_s after the last"),
    flag("runpod_restart_wipes_disk", False, "whether a restart loses the container disk, so that a job runs again"),
    chance("runpod_no_final_newline", "a job's output does not end with a line end"),
    chance("runpod_log_gap", "a third of what a job prints never reaches the log"),
    choice("runpod_log_gap_at", ("middle", "begin", "end"), "which third; the first includes its begin, the last its end"),
    # The log's stream.
    number("runpod_keepalive_s", 15.0, "how long a stream is silent before it sends a comment"),
    chance("runpod_log_stalls", "a stream sends nothing more but comments after runpod_log_stalls_after_s"),
    number("runpod_log_stalls_after_s", 0.0, "when a stream that stalls does; 0 is after what was there already"),
    flag("runpod_stalled_keepalives", True, "whether a stream that stalls still sends comments"),
    chance("runpod_log_cut", "a stream's connection breaks after runpod_log_cut_after_s"),
    number("runpod_log_cut_after_s", 5.0, "when a stream that breaks does"),
    chance("runpod_log_duplicates", "a frame is sent twice"),
    chance("runpod_log_id_frames", "a frame is followed by one with its id alone"),
    choice("runpod_log_numbers", ("running", "per_second"), "whether the numbers in the ids go on or begin anew each second"),
    choice("runpod_exited_log", ("kept", "missing"), "whether a stopped pod's log can be read"),
    # Volumes.
    choice("runpod_volume_in_use_status", ("400", "409"), "the status when a volume of a pod is deleted"),
    # Money.
    choice("runpod_billing_start", ("placed", "ordered", "running"), "when a pod's billing starts: STARTING, at once, RUNNING"),
    choice("runpod_cost_shows", ("container_disk", "compute", "all"), "what a pod's cost includes beside its GPUs"),
    choice("runpod_volumes_billed_by", ("hour", "second"), "network volumes are billed by the started hour or second"),
    number("runpod_billing_lag_s", 3600.0, "how far the spend history is behind"),
    choice("runpod_last_n_status", ("400", "422"), "the status of lastN together with startTime or endTime"),
)  # fmt: skip
