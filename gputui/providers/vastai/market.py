"""Reading as much of the market as a few searches can show.

A search answers with the cheapest 64 offers (how many more a larger `limit` brings, if any, differs by account and time, so the
size of an answer is learned rather than assumed), and there is no next page but to ask again from the last price on. The
cheapest offers of the whole market are all of a few small GPUs. So the market is cut into slices by GPU model, a few models
at a time; a slice that fills its answer is asked for again, for large machines and model by model, those first of which least
was seen; a model that fills one by itself is asked for from its last price on. Searches are counted per day, and a refresh
must end in time: what is left when either limit is reached are dearer offers of models whose cheapest are known.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from gputui.model.errors import Malformed, Rejected
from gputui.model.gpus import ORDER
from gputui.providers.vastai.mapping import gpu_name_of
from gputui.providers.vastai.wire import WireOffer

MAX_SEARCHES = 28
SEARCH_TIME_S = 9.0
# Searches under way at once, so that a slow answer does not hold up the next question.
AT_ONCE = 4
MODELS_PER_SLICE = 4
# Machines with so many GPUs are dearer than any one GPU, and would be seen last.
LARGE_GPUS = 4

# An answer: offers, cheapest first, as many as Vast.ai shows; None for one that cannot be read.
Rows = Sequence[WireOffer | None]
# Takes filters, returns the offers that pass them.
Search = Callable[[dict[str, Any]], Awaitable[Rows]]


@dataclass(frozen=True, slots=True)
class _Slice:
    """A part of the market, and how soon it is asked for: by `rank`, then by `place`. `names` are Vast.ai's own spellings."""

    rank: int
    place: int
    names: tuple[str, ...]
    least_gpus: int = 1
    from_price: Decimal | None = None

    @property
    def filters(self) -> dict[str, Any]:
        wanted = list(self.names)
        filters: dict[str, Any] = {"gpu_name": {"eq": wanted[0]} if len(wanted) == 1 else {"in": wanted}}
        if self.least_gpus > 1:
            filters["num_gpus"] = {"gte": self.least_gpus}
        return filters if self.from_price is None else {**filters, **_from_price(self.from_price)}


_FIRST, _UNSEEN, _LARGE, _ALONE, _DEARER = range(5)


async def read_market(search: Search, model_names: Callable[[], Awaitable[list[str]]]) -> list[WireOffer]:
    """Return offers, each once, as last read; `model_names` returns the spellings of all GPU models there are."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + SEARCH_TIME_S
    found = _Found()
    cheapest = await search({})
    found.add(cheapest)
    price = _dearest(cheapest)
    if price is None or not found.add(await search(_from_price(price))):
        return found.rows
    try:
        slices = slices_of(await model_names())
    except (Malformed, Rejected):
        # This list is in no document. Without it, only models that were seen can be asked for.
        slices = slices_of(found.model_names)
    searches = 2
    while slices and searches < MAX_SEARCHES and loop.time() < ends_at:
        count = min(AT_ONCE, MAX_SEARCHES - searches)
        wave, slices = slices[:count], slices[count:]
        searches += len(wave)
        answers = await asyncio.gather(*(search(part.filters) for part in wave), return_exceptions=True)
        for part, rows in zip(wave, answers, strict=True):
            if isinstance(rows, BaseException):
                raise rows
            found.add(rows)
            if len(rows) >= len(cheapest):
                slices.extend(_finer(part, rows))
        slices.sort(key=lambda part: (part.rank, part.place))
    return found.rows


def slices_of(names: Iterable[str]) -> list[_Slice]:
    """Return the slices to begin with: known models a few at a time, newest and largest first; then all others at once."""
    known = sorted((name for name in set(names) if gpu_name_of(name) in ORDER), key=_position)
    others = tuple(sorted(set(names) - set(known)))
    packs = [tuple(known[start : start + MODELS_PER_SLICE]) for start in range(0, len(known), MODELS_PER_SLICE)]
    return [_Slice(_FIRST, place, pack) for place, pack in enumerate([*packs, others]) if pack]


def _finer(part: _Slice, rows: Rows) -> list[_Slice]:
    """Return what is asked for next where an answer was full."""
    finer = []
    if part.rank == _FIRST:
        finer.append(replace(part, rank=_LARGE, least_gpus=LARGE_GPUS))
    known = [name for name in part.names if gpu_name_of(name) in ORDER]
    if part.rank == _FIRST and len(known) > 1:
        seen = Counter(row.gpu_name for row in rows if row)
        return finer + [_Slice(_ALONE if seen[name] else _UNSEEN, seen[name], (name,)) for name in known]
    price = _dearest(rows)
    # More offers of one price than an answer holds cannot be told apart: they end the search.
    if price is not None and price != part.from_price:
        finer.append(replace(part, rank=_DEARER, from_price=price))
    return finer


def _position(name: str) -> tuple[int, str]:
    return ORDER[gpu_name_of(name)], name


def _from_price(price: Decimal) -> dict[str, Any]:
    return {"dph_total": {"gte": float(price)}}


def _dearest(rows: Rows) -> Decimal | None:
    """Return the highest price of an answer. Nothing is dearer than an answer without prices."""
    return max((row.dph_total for row in rows if row and row.dph_total is not None), default=None)


class _Found:
    """Offers by id, as last read."""

    def __init__(self) -> None:
        self._rows: dict[str, WireOffer] = {}

    @property
    def rows(self) -> list[WireOffer]:
        return list(self._rows.values())

    @property
    def model_names(self) -> set[str]:
        return {row.gpu_name for row in self._rows.values() if row.gpu_name is not None}

    def add(self, rows: Rows) -> bool:
        """Keep offers; True when one of them is new. An offer without an id cannot be ordered and is left out."""
        before = len(self._rows)
        self._rows.update({row.id: row for row in rows if row and row.id is not None})
        return len(self._rows) > before
