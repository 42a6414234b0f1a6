"""The query language of searches and lists: `{"gpu_name": {"eq": "L4"}, "order": [["dph_total", "asc"]], "limit": 10}`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from gputui.sim.faults import Faults
from gputui.sim.vastai.errors import bad_query
from gputui.sim.vastai.fields import number_of

NEVER = object()
"""The value of a field whose filters match nothing."""

_ORDERED: Mapping[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
OPERATORS = frozenset({"eq", "neq", "in", "notin", *_ORDERED})
_CONTROLS = frozenset({"type", "order", "limit", "allocated_storage", "disable_bundling"})


class Row(Protocol):
    """Something that can be searched for."""

    def value(self, field: str) -> Any:
        """Return a field's value, None for null."""
        ...


R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition. A `want` of "any" for "eq" is no condition."""

    field: str
    operator: str
    want: Any

    def holds(self, row: Row, *, underscores_match: bool = False) -> bool:
        have = row.value(self.field)
        if self.operator == "eq" and self.want == "any":
            return True
        if have is None or have is NEVER:
            return False
        if self.operator in ("in", "notin"):
            is_in = any(_equal(have, item, underscores_match) for item in self.want)
            return is_in is (self.operator == "in")
        if self.operator in ("eq", "neq"):
            return _equal(have, self.want, underscores_match) is (self.operator == "eq")
        if isinstance(have, str):
            return isinstance(self.want, str) and _ORDERED[self.operator](have, self.want)
        want = number_of(self.want)
        return want is not None and _ORDERED[self.operator](have, want)


@dataclass(frozen=True, slots=True)
class Query:
    """A search that has been read."""

    filters: tuple[Filter, ...]
    order: tuple[tuple[str, bool], ...]
    limit: int
    allocated_gb: float
    kind: str
    underscores_match: bool

    def run(self, rows: Sequence[R]) -> list[R]:
        """Return the rows that fit, in order, at most `limit`."""
        found = [
            row
            for row in rows
            if all(item.holds(row, underscores_match=self.underscores_match) for item in self.filters)
        ]
        return ordered(found, self.order)[: self.limit]


def read_query(
    body: Mapping[str, Any],
    faults: Faults,
    *,
    known: frozenset[str],
    aliases: Mapping[str, str],
    defaults: Mapping[str, Any],
    default_order: str,
    default_gb: float,
) -> Query:
    """Return the search that a query object asks for. Raises 400 bad_request.

    `defaults` are filters added for fields that the query does not name.
    """
    filters = read_filters(
        {name: value for name, value in body.items() if name not in _CONTROLS}, faults, known=known, aliases=aliases
    )
    named = {item.field for item in filters}
    filters += [Filter(field, "eq", want) for field, want in defaults.items() if field not in named]
    kind = body.get("type") or "ondemand"
    if kind not in ("ondemand", "on-demand", "ask", "bid", "reserved"):
        raise bad_query("q.type: Input should be 'ondemand', 'bid' or 'reserved'")
    gb = _positive(body, "allocated_storage")
    if gb is not None:
        filters.append(Filter("disk_space", "gte", gb))
    cap = int(faults.number("search_cap"))
    limit = int(_positive(body, "limit") or cap)
    return Query(
        filters=tuple(filters),
        order=_order(body.get("order"), known, aliases) or ((default_order, False),),
        limit=limit if faults.flag("cap_by_limit") else min(limit, cap),
        allocated_gb=default_gb if gb is None else gb,
        kind="bid" if kind == "bid" else "ondemand",
        underscores_match=faults.flag("underscores_match"),
    )


def read_filters(
    body: Mapping[str, Any], faults: Faults, *, known: frozenset[str], aliases: Mapping[str, str]
) -> list[Filter]:
    """Return the conditions of an object of filters. Raises 400 bad_request, naming everything that is wrong."""
    found: list[Filter] = []
    complaints: list[str] = []
    for name, value in body.items():
        field = aliases.get(name, name)
        if field not in known:
            if faults.choice("unknown_filters") == "refused":
                complaints.append(f"q.{name}: Extra inputs are not permitted")
        elif not isinstance(value, dict) or not set(value) <= OPERATORS:
            if faults.choice("malformed_filters") == "refused":
                complaints.append(f"q.{name}: Input should be a valid dictionary")
        else:
            for op, want in value.items():
                if op in ("in", "notin") and not isinstance(want, list):
                    complaints.append(f"q.{name}.{op}: Input should be a valid list")
                    continue
                found.append(Filter(field, op, want))
    if complaints:
        raise bad_query(*complaints)
    return found


def ordered(rows: Sequence[R], order: Sequence[tuple[str, bool]]) -> list[R]:
    """Return rows sorted by (field, is it ascending) pairs; nulls come last."""
    found = list(rows)
    for field, ascending in reversed(order):
        valued = [(row.value(field), row) for row in found]
        nulls = [row for value, row in valued if value is None or value is NEVER]
        rest = [pair for pair in valued if pair[0] is not None and pair[0] is not NEVER]
        rest.sort(key=lambda pair: pair[0], reverse=not ascending)
        found = [row for _, row in rest] + nulls
    return found


def _order(value: Any, known: frozenset[str], aliases: Mapping[str, str]) -> tuple[tuple[str, bool], ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise bad_query("q.order: Input should be a valid list")
    found = []
    for item in value:
        if not isinstance(item, list) or len(item) != 2 or item[1] not in ("asc", "desc"):
            raise bad_query("q.order: Input should be a list of [field, direction]")
        field = {"id": "ask_contract_id", **aliases}.get(item[0], item[0]) if isinstance(item[0], str) else None
        if field not in known:
            raise bad_query(f"q.order: {item[0]} is not a valid search key")
        found.append((field, item[1] == "asc"))
    return tuple(found)


def _positive(body: Mapping[str, Any], name: str) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    found = number_of(value)
    if found is None:
        raise bad_query(f"q.{name}: Input should be a valid number")
    return found if found > 0 else None


def _equal(have: Any, want: Any, underscores_match: bool) -> bool:
    if isinstance(have, bool):
        return want in ((True, 1, "true", "True", "1") if have else (False, 0, "false", "False", "0"))
    if isinstance(have, int | float):
        return number_of(want) == have
    if isinstance(want, str) and underscores_match:
        want = want.replace("_", " ")
    return bool(have == want)
