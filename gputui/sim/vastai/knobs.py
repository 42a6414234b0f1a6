"""What Vast.ai's documents leave open or contradict, and faults that only this API can have."""

from __future__ import annotations

from gputui.sim.faults import Knob, chance, choice, flag, number

KNOBS: tuple[Knob, ...] = (
    # The market.
    number("offers", 3000.0, "how many offers stand on the market"),
    number("search_cap", 64.0, "how many offers one answer holds at most, and when no limit is given"),
    flag("cap_by_limit", False, "whether a larger limit lifts search_cap, as it did for earlier clients"),
    choice("unknown_filters", ("refused", "dropped"), "what happens to a filter on a field that does not exist"),
    choice("malformed_filters", ("refused", "dropped"), "what happens to a filter that is a bare value"),
    flag("underscores_match", False, "whether RTX_4090 in a filter finds RTX 4090"),
    # Who is asking, and how often.
    choice("bad_key_status", ("404", "401"), "the status for a key that matches no user"),
    choice("forbidden_status", ("403", "401"), "the status for a key without the permission"),
    number("interval_scale", 1.0, "the minimum interval between calls, as a share of the published one; 0 for none"),
    number("search_interval_s", 0.3, "one offer search is let through each so many seconds, for a caller; 0 for no limit"),
    number("search_burst", 5.0, "how many offer searches may come at once before search_interval_s counts"),
    number("search_quota", 0.0, "how many offer searches a caller has each day, UTC; 0 for no quota"),
    choice("too_frequent_body", ("text", "threshold", "detail", "retry_after"), "what a 429 of the API itself carries"),
    flag("too_frequent_header", False, "whether a 429 of the API itself has a Retry-After header"),
    # Creating.
    choice("offer_gone_as", ("404", "410", "400", "200"), "the status when an offer is unknown or taken"),
    chance("offer_race", "the offer is taken between search and create: 410 no_such_ask"),
    flag("low_bid_leaves_instance", True, "whether a bid that is too low is refused yet leaves a stopped instance"),
    number("minimum_credit_usd", 0.0, "credit must be above this for a create or a start"),
    # An instance's life.
    chance("image_not_found", "the image cannot be pulled; the same happens to images that no registry has"),
    number("image_gives_up_s", 420.0, "how long after its creation an instance without its image is stopped"),
    chance("outbid", "somebody bids more for an interruptible instance, outbid_after_s after it began to run"),
    number("outbid_after_s", 600.0, "when an instance is outbid, counted from when it runs"),
    number("outbid_for_s", 0.0, "how long an outbid instance stays stopped before it runs again; 0 for ever"),
    number("relaunch_s", 2.0, "how long a start, reboot or recycle shows the old status before it shows loading"),
    number("reload_s", 4.0, "how long a start, reboot or recycle takes in all"),
    chance("start_refused", "a start is answered 200 with success false: resources_unavailable; the wish stays queued"),
    chance("stop_stuck", "an instance stopped while loading goes on showing loading"),
    number("contract_grace_s", 172_800.0, "how long after its contract's end a stopped instance is deleted"),
    number("unpaid_grace_s", 172_800.0, "how long an account may be without credit before its instances are deleted"),
    number("image_gb", 4.0, "how much an image pull downloads"),
    number("traffic_down_gb_per_hour", 0.0, "what an instance created from now on downloads while it runs"),
    number("traffic_up_gb_per_hour", 0.0, "what an instance created from now on uploads while it runs"),
    # What instances look like.
    choice("stopped_shows", ("exited", "stopped"), "the actual_status of a stopped instance"),
    choice("offline_shows", ("offline", "unknown"), "the actual_status of an instance whose host is gone"),
    choice("ports_unset_shows", ("empty", "null"), "what stands for ports before they are mapped"),
    flag("address_newline", True, "whether public_ipaddr ends with a newline"),
    choice("list_v0", ("410", "200"), "the status of the retired instance list, whose body is the same"),
    choice("missing_instance_as", ("no_such_instance", "not_found"), "the error of a call on an instance that is not there"),
    # Logs.
    number("log_upload_s", 0.6, "how long after request_logs the file can be read"),
    choice("log_pending_status", ("403", "404"), "the status of a log's file before it can be read"),
    # Keys and volumes.
    choice("no_ssh_keys_as", ("empty", "404"), "the answer to a list of SSH keys when there are none"),
    flag("account_keys_reach_instances", False, "whether an SSH key of the account reaches instances that exist"),
    flag("team_account", False, "whether the account is a team's, which cannot hold SSH keys"),
    number("volume_release_s", 30.0, "how long after its instance is destroyed a volume is free"),
    # Money.
    choice("charge_days", ("overlapping", "beginning"), "the days a filter takes in: all it touches or whose start it holds"),
    flag("user_shows_api_key", True, "whether users/current answers the key itself"),
)  # fmt: skip
