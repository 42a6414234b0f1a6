"""What Lambda's documents leave open, and faults that only this API can have."""

from __future__ import annotations

from gputui.sim.faults import Knob, chance, choice, flag, number

KNOBS: tuple[Knob, ...] = (
    # The edge in front of the API.
    number("request_every_s", 1.0, "one request is let through each so many seconds, for an address; 0 for no limit"),
    number("request_burst", 10.0, "how many requests may come at once before request_every_s counts"),
    number("launch_every_s", 12.0, "one launch is let through each so many seconds, for an address; 0 for no limit"),
    number("launch_burst", 1.0, "how many launches may come at once before launch_every_s counts"),
    choice("rate_limit_body", ("text", "html"), "what a 429 of the edge carries; never JSON"),
    flag("rate_limit_retry_after", False, "whether a 429 of the edge says when to come back"),
    flag("block_default_user_agents", False, "403 'error code: 1010' for no User-Agent or that of Python's urllib"),
    # Who may do what.
    chance("account_inactive", "403 global/account-inactive"),
    chance("invalid_address", "403 global/invalid-address, on a launch or a new filesystem"),
    chance("forbidden", "403 global/forbidden, on reading instances"),
    number("instance_quota", 40.0, "how many instances an account may have"),
    number("filesystem_quota", 24.0, "how many filesystems an account may have"),
    number("ruleset_quota", 20.0, "how many regional firewall rulesets an account may have"),
    # Errors whose HTTP status nobody wrote down.
    chance("provider_unavailable", "the error provider/internal-unavailable before the request takes effect"),
    choice("provider_error_status", ("503", "500", "400"), "the HTTP status of provider/internal-unavailable"),
    choice("unknown_error_status", ("500", "400"), "the HTTP status of global/unknown"),
    choice(
        "launch_missing_status", ("400", "404"), "the HTTP status when a launch names something that does not exist"
    ),
    # What instances look like.
    flag(
        "undocumented_fields", True, "architecture, workspace_id, is_reserved and request_id, seen but not documented"
    ),
    choice(
        "unset_shows", ("absent", "null"), "what stands for a name, address, hostname or Jupyter link not there yet"
    ),
    choice("default_hostname", ("ip", "dashed", "absent"), "the hostname of an instance launched without one"),
    number("address_at_boot_share", 0.85, "the share (0..1) of the boot after which an instance shows its address"),
    choice("restarting_shows", ("active", "unhealthy", "booting"), "the status of an instance while it restarts"),
    number("terminated_readable_s", 300.0, "how long a terminated instance can still be read by its id"),
    flag("terminated_listed", False, "whether a terminated instance is listed while it can be read"),
    chance("unhealthy_from_boot", "a launched instance ends its boot unhealthy and is billed; it never answers SSH"),
    # Keys and filesystems.
    chance("key_name_race", "a second SSH key of a name in use is accepted, as when two are added at the same moment"),
    flag("key_in_use_refused", False, "whether an SSH key of a living instance cannot be deleted (API 1.5.3)"),
    number("filesystem_used_gib", 0.0, "how much lies on a filesystem made after this is set, from its creation on"),
    number("filesystem_usage_lag_s", 10_800.0, "how long bytes_used of a new filesystem is missing"),
    number("audit_page_size", 100.0, "how many audit events there are to a page"),
)
