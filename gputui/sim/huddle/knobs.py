"""What the Huddle docs leave open, and faults that only this API can have."""

from __future__ import annotations

from gputui.sim.faults import Knob, chance, choice, flag, number, words

KNOBS: tuple[Knob, ...] = (
    flag("flat_lists", False, "paged lists carry their items at the top level, as the guides say, not nested"),
    choice("cursor_name", ("next_cursor", "cursor"), "what the next page's cursor is called"),
    choice("region_shape", ("objects", "strings"), "how an offer names its regions"),
    choice("ip_before_running", ("null", "empty", "absent"), "what stands for the address before a machine has one"),
    choice("delete_body", ("deployment", "ok", "empty"), "what a deletion answers"),
    choice("deleting_shows", ("previous", "deleting"), "the status shown while a deletion goes on"),
    words(
        "action_words",
        ("start", "boot", "stop", "shutdown", "restart", "reboot", "force_shutdown", "delete"),
        "the actions that are accepted",
    ),
    number("deploy_s", 0.0, "how long a deploy call goes on after the machine was made, before it answers"),
    number("idempotency_ttl_s", 86_400.0, "how long an answer is kept for its idempotency key"),
    chance("idempotency_in_flight", "409 as if the first call with this idempotency key still ran"),
    chance("offers_shift", "the cheapest offers trade places, so that pages miss or repeat some"),
    chance("volume_stuck_attaching", "a volume ordered with a machine never gets past attaching"),
)
