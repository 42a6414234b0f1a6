"""What TensorDock's documents leave open or get wrong, and faults that only this API can have."""

from __future__ import annotations

from gputui.sim.faults import Knob, chance, choice, flag, number

STRICT_SIZES = "tensordock_strict_sizes"
STALE_LISTINGS = "tensordock_stale_listings"
LIST_SHAPE = "tensordock_list_shape"
LIST_ITEM = "tensordock_list_item"
SINGLE_SHAPE = "tensordock_single_shape"
CREATE_SHAPE = "tensordock_create_shape"
CREATE_CODE = "tensordock_create_code"
CREATE_STATUS = "tensordock_create_status"
CREATE_S = "tensordock_create_s"
NEW_ADDRESS_SHOWS = "tensordock_new_address_shows"
GPU_KEY = "tensordock_gpu_key"
STATUS_CASE = "tensordock_status_case"
DELETING_SHOWS = "tensordock_deleting_shows"
DELETE_ANSWER = "tensordock_delete_answer"
ERRORS_IN_200 = "tensordock_errors_in_200"
WRONG_STATE_CODE = "tensordock_wrong_state_code"
BAD_TOKEN_CODE = "tensordock_bad_token_code"  # noqa: S105
V0_REFUSAL_CODE = "tensordock_v0_refusal_code"
REQUESTS_PER_MINUTE = "tensordock_requests_per_minute"
LIMIT_SAYS_WHEN = "tensordock_limit_says_when"
STOP_END = "tensordock_stop_end"
MOVES_ON_START = "tensordock_moves_on_start"
BILLING_START = "tensordock_billing_start"
UNPAID_GRACE_S = "tensordock_unpaid_grace_s"
NO_PUBLIC_IP = "tensordock_no_public_ip"
DEPLOYMENT_FAILS = "tensordock_deployment_fails"
FORWARDS_DROPPED = "tensordock_forwards_dropped"
NEVER_ADDRESSED = "tensordock_never_addressed"
STOPS_AFTER_CREATE = "tensordock_stops_after_create"

KNOBS: tuple[Knob, ...] = (
    flag(STRICT_SIZES, True, "create refuses odd vCPU counts and amounts of RAM that modify does not allow"),
    flag(STALE_LISTINGS, True, "the market lists some GPUs that can never be had"),
    choice(LIST_SHAPE, ("array", "instances", "attributes"), "the envelope of the list of instances"),
    choice(LIST_ITEM, ("usual", "brief", "full"), "how much the list says of an instance"),
    choice(SINGLE_SHAPE, ("bare", "data", "attributes"), "the envelope of one instance"),
    choice(CREATE_SHAPE, ("data", "bare"), "the envelope of create's answer"),
    choice(CREATE_CODE, ("200", "201"), "the HTTP status of a create that worked"),
    choice(CREATE_STATUS, ("running", "creating"), "the status of an instance that has no address yet"),
    number(CREATE_S, 0.0, "how long a create call goes on after the machine was made, before it answers"),
    choice(NEW_ADDRESS_SHOWS, ("absent", "empty", "null"), "what stands for the address before an instance has one"),
    choice(GPU_KEY, ("display", "model"), "what names the GPUs of an instance"),
    choice(STATUS_CASE, ("lower", "camel"), "how statuses are written"),
    choice(DELETING_SHOWS, ("previous", "deleting"), "the status shown while a deletion goes on"),
    choice(DELETE_ANSWER, ("message", "empty"), "whether a deletion answers with a message or with 204"),
    flag(ERRORS_IN_200, True, "create refuses within a 200"),
    choice(WRONG_STATE_CODE, ("400", "409"), "the HTTP status of a start or a stop in the wrong state"),
    choice(BAD_TOKEN_CODE, ("401", "403"), "the HTTP status of a token that is not accepted"),
    choice(V0_REFUSAL_CODE, ("200", "400"), "the HTTP status of a refusal by v0"),
    number(REQUESTS_PER_MINUTE, 100.0, "how many v2 requests an organization may make in a minute, 0 for any number"),
    flag(LIMIT_SAYS_WHEN, False, "a request over the limit is told when to come back"),
    choice(
        STOP_END, ("stopped", "stoppeddisassociated"), "what a stop ends in: the GPU kept and paid for, or released"
    ),
    flag(MOVES_ON_START, False, "an instance that is started again has another address and other ports"),
    choice(BILLING_START, ("ordered", "running"), "when billing of an instance starts"),
    number(UNPAID_GRACE_S, 259_200.0, "how long instances that stopped for lack of balance are kept"),
    chance(NO_PUBLIC_IP, "a host has no dedicated address left although the market says so"),
    chance(DEPLOYMENT_FAILS, "create fails with an unexpected error; there is no instance"),
    chance(FORWARDS_DROPPED, "a new instance runs without the forwards that were asked for"),
    chance(NEVER_ADDRESSED, "a new instance never gets an address"),
    chance(STOPS_AFTER_CREATE, "a new instance stops at once"),
)
