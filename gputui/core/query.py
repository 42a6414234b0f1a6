"""The filter language of the offers screen and of `gputui offers --where`. Pure.

    gpu:h100 vram>=80 $<2.5 !region:cn "north europe"

Terms stand side by side and all must hold; commas inside one mean "or"; `!` or `-` in front means "not"; a word without a
field is looked for in provider, GPU, region and tier. What is unknown of an offer satisfies no comparison.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import compress, repeat
from typing import Any, TypeVar

from gputui.core.routing import Quote
from gputui.model.errors import UsageError
from gputui.model.gpus import gpu_matches, gpus_for_request
from gputui.model.types import Offer, Stock, Tier
from gputui.model.units import Ms, parse_duration, parse_usd
from gputui.providers.registry import PROVIDERS

# One line for each kind of term, for help pages.
EXAMPLES: tuple[tuple[str, str], ...] = (
    ("gpu:h100", "every form of it; gpu=h100-sxm exactly that"),
    ("provider:huddle,lambda", "a comma means or"),
    ("!region:cn", "! or - means not; from the start of a word"),
    ("tier:spot", "on-demand, spot, secure or community"),
    ("stock:high,low", "high, low, none or unknown"),
    ("$<2.5  $gpu<1", "list price per hour, of the machine or a GPU"),
    ("eff<3", "with boot time and minimum spread over the work"),
    ("vram>=80  n>=2", "GiB per GPU; number of GPUs"),
    ("vcpu  ram  disk  rel  age", "rel>99 in per cent; age<5m"),
    ('texas "north europe"', "any other word is looked for everywhere"),
)


class QueryError(UsageError):
    """A filter that cannot be read. `start` and `end` are the place in the text, in characters from 0."""

    def __init__(self, message: str, start: int, end: int) -> None:
        super().__init__(message, field="where")
        self.start = start
        self.end = max(end, start + 1)

    @property
    def pointer(self) -> str:
        """Return a line of ^ that stands under the place when it is put under the text."""
        return " " * self.start + "^" * (self.end - self.start)


class Listing:
    """Offers in one order, with what filters look at laid out once as columns, so that a keystroke reads no offer."""

    def __init__(self, quotes: Sequence[Quote] = ()) -> None:
        self.quotes = quotes
        self._columns: dict[str, list[Any]] = {}

    @cached_property
    def by_id(self) -> Mapping[str, Quote]:
        """The offers by their ids, in their order."""
        return {quote.offer.id: quote for quote in self.quotes}

    @cached_property
    def ids(self) -> Sequence[str]:
        return [*self.by_id]

    def column(self, field: str) -> list[Any]:
        """Return a field's value for each offer: words in lower case, unknown numbers as NaN."""
        if field not in self._columns:
            self._columns[field] = list(_FIELDS[field].column(self.quotes))
        return self._columns[field]

    def prepare(self) -> None:
        """Lay out everything now, where nobody waits for it."""
        for field in _FIELDS:
            self.column(field)
        _ = self.ids


# A term of a filter: whether each offer of a listing satisfies it.
_Test = Callable[[Listing], Iterable[bool]]
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Query:
    """A filter that was read. An empty one lets everything pass."""

    text: str = ""
    tests: tuple[_Test, ...] = ()

    def select(self, listing: Listing) -> Sequence[Quote]:
        """Return the offers that satisfy every term, in the listing's order."""
        return self._those_of(listing, listing.quotes)

    def select_ids(self, listing: Listing) -> Sequence[str]:
        """Return the ids of the offers that satisfy every term, without touching the offers themselves."""
        return self._those_of(listing, listing.ids)

    def _those_of(self, listing: Listing, items: Sequence[_Item]) -> Sequence[_Item]:
        if not self.tests:
            return items
        first, *others = self.tests
        verdicts = first(listing)
        for test in others:
            verdicts = map(operator.and_, verdicts, test(listing))
        return list(compress(items, verdicts))


def parse_query(text: str, *, now_ms: Ms) -> Query:
    """Read a filter; `now_ms` is what ages count from. Raises QueryError with the place of the first mistake."""
    return Query(text, tuple(_test(term, now_ms) for term in _terms(text)))


def quoted(value: str) -> str:
    """Return a value as it has to be written in a filter."""
    cleaned = value.replace('"', "")
    return f'"{cleaned}"' if re.search(r"[\s,]", cleaned) else cleaned


def settled(text: str) -> str:
    """Return a filter that is being typed without a last word that may yet become a field, such as "gp" of "gpu:h100"."""
    head, _, last = text.rpartition(" ")
    word = last.lstrip("!-").casefold()
    return head if last and any(field.startswith(word) for field in _FIELDS) else text


# Reading


@dataclass(frozen=True, slots=True)
class _Value:
    text: str
    start: int
    end: int

    def error(self, message: str) -> QueryError:
        return QueryError(message, self.start, self.end)


@dataclass(frozen=True, slots=True)
class _Term:
    """`field` is empty for free text; `start` and `end` are those of the field, or of the whole term without one."""

    negated: bool
    field: str
    sign: str
    values: tuple[_Value, ...]
    start: int
    end: int


_WORD = re.compile(r'(?:"[^"]*"|[^\s"])+')
_FIELD = re.compile(r"([^\s\",:=<>!]*)(>=|<=|!=|>|<|=|:)")
_VALUE = re.compile(r'((?:"[^"]*"|[^,"])*)(,|$)')


def _terms(text: str) -> Iterator[_Term]:
    if text.count('"') % 2:
        place = text.rindex('"')
        raise QueryError("this quotation mark is not closed", place, len(text))
    for found in _WORD.finditer(text):
        yield _term(found.group(), found.start())


def _term(word: str, start: int) -> _Term:
    end = start + len(word)
    negated = word[0] in "!-"
    rest = word[1:] if negated else word
    at = end - len(rest)
    if not rest:
        raise QueryError(f"{word} stands before what must not be, like {word}region:cn", start, end)
    if (named := _FIELD.match(rest)) is None:
        return _Term(negated, "", ":", tuple(_values(rest, at)), at, end)
    field, sign = named.groups()
    if not field:
        raise QueryError(f"which field? write it before {sign}, like vram>=80", at, end)
    values = tuple(_values(rest[named.end() :], at + named.end()))
    return _Term(negated ^ (sign == "!="), field.casefold(), sign, values, at, at + len(field))


def _values(text: str, start: int) -> Iterator[_Value]:
    position = 0
    while True:
        found = _VALUE.match(text, position)
        assert found is not None  # quotation marks are closed
        at, end = start + found.start(1), start + found.end(1)
        value = _Value(found[1].replace('"', ""), at, end)
        if not value.text:
            raise value.error("a value is missing here")
        yield value
        if not found[2]:
            return
        position = found.end()


# Meaning


class _Verdicts(dict[Any, bool]):
    """Value -> whether it passes; worked out once per distinct value."""

    def __init__(self, passes: Callable[[Any], bool]) -> None:
        super().__init__()
        self._passes = passes

    def __missing__(self, value: Any) -> bool:
        verdict = self[value] = self._passes(value)
        return verdict


_Passes = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class _Words:
    """A field of words. `reader` makes the comparison with one value; it raises QueryError for one that cannot be."""

    word: Callable[[Offer], str]
    reader: Callable[[_Value], _Passes]

    def column(self, quotes: Sequence[Quote]) -> Iterable[str]:
        return (self.word(quote.offer) for quote in quotes)


@dataclass(frozen=True, slots=True)
class _Number:
    """A field of numbers."""

    number: Callable[[Quote], int | float | None]
    reader: Callable[[_Value], int | float]

    def column(self, quotes: Sequence[Quote]) -> Iterable[int | float]:
        return (math.nan if number is None else number for number in map(self.number, quotes))


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
# An age counts back from now: what is younger was fetched later.
_BACKWARDS = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _test(term: _Term, now_ms: Ms) -> _Test:
    field = _FIELDS.get(term.field)
    if field is None:
        raise QueryError(_unknown_field(term.field), term.start, term.end)
    compare = _COMPARISONS.get(term.sign)
    first = term.values[0]
    if isinstance(field, _Words):
        if compare is not None:
            raise QueryError(f"{term.field} is not a number: write {term.field}:{first.text}", term.start, term.end)
        tests = [field.reader(value) for value in term.values]
        if term.sign in ("=", "!="):
            tests = [partial(operator.eq, value.text.casefold()) for value in term.values]
        return _passing(term, tests)
    bounds = [field.reader(value) for value in term.values]
    if term.field == "age":
        if compare is None:
            raise QueryError("an age is compared with < or >, like age<5m", term.start, term.end)
        compare = _COMPARISONS[_BACKWARDS[term.sign]]
        bounds = [now_ms - bound for bound in bounds]
    if compare is None:
        return _passing(term, [partial(operator.eq, bound) for bound in bounds])
    if len(bounds) > 1:
        raise term.values[1].error(f"{term.field}{term.sign} takes one number")
    return _compared(term, compare, bounds[0])


def _passing(term: _Term, tests: Sequence[_Passes]) -> _Test:
    wanted = not term.negated
    verdicts = _Verdicts(lambda seen: any(test(seen) for test in tests) is wanted)
    return lambda listing: map(verdicts.__getitem__, listing.column(term.field))


def _compared(term: _Term, compare: Callable[[Any, Any], bool], bound: int | float) -> _Test:
    def test(listing: Listing) -> Iterable[bool]:
        held = map(compare, listing.column(term.field), repeat(bound))
        return map(operator.not_, held) if term.negated else held

    return test


def _unknown_field(name: str) -> str:
    from difflib import get_close_matches

    names = [field for field in _FIELDS if field]
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"unknown field {name!r}: " + (f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}")


# Readers of values


def _gpu(value: _Value) -> _Passes:
    part = value.text.casefold()
    return (lambda gpu: gpu_matches(part, gpu.upper())) if gpus_for_request(part) else lambda gpu: part in gpu


def _part(value: _Value) -> _Passes:
    part = value.text.casefold()
    return lambda seen: part in seen


def _provider(value: _Value) -> _Passes:
    part = value.text.casefold()
    return lambda name: part in _names(name)


def _start_of_word(value: _Value) -> _Passes:
    start = re.compile(rf"(?<![^\W_]){re.escape(value.text.casefold())}")
    return lambda seen: start.search(seen) is not None


def _one_of(*words: str) -> Callable[[_Value], _Passes]:
    def read(value: _Value) -> _Passes:
        meant = {word for word in words if word.startswith(value.text.casefold())}
        if not meant:
            raise value.error(f"{value.text!r} is not one of {', '.join(words)}")
        return meant.__contains__

    return read


_AMOUNT = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(?:gib|gb|g|%)?", re.IGNORECASE)


def _number(value: _Value) -> float:
    found = _AMOUNT.fullmatch(value.text)
    if found is None:
        raise value.error(f"{value.text!r} is not a number")
    return float(found[1])


def _per_cent(value: _Value) -> float:
    return _number(value) / 100


def _dollars(value: _Value) -> int:
    try:
        return parse_usd(value.text)
    except UsageError:
        raise value.error(f"{value.text!r} is not an amount of dollars, like 2.50") from None


def _milliseconds(value: _Value) -> int:
    try:
        return parse_duration(value.text) * 1000
    except UsageError:
        raise value.error(f"{value.text!r} is not a duration, like 30s or 5m") from None


# Words of offers


@lru_cache(maxsize=4096)
def _lower(word: str) -> str:
    return word.casefold()


@lru_cache(maxsize=256)
def _names(provider: str) -> str:
    """Return the name and the title of a provider: either may be typed."""
    title = PROVIDERS[provider].title if provider in PROVIDERS else ""
    return f"{provider} {title}".casefold()


def _stock(offer: Offer) -> str:
    return offer.stock._value_ if offer.stock is not None else "unknown"


def _all_words(offer: Offer) -> str:
    return _joined(offer.provider, offer.gpu, offer.region, offer.tier._value_)


@lru_cache(maxsize=65_536)
def _joined(provider: str, gpu: str, region: str | None, tier: str) -> str:
    return f"{_names(provider)} {gpu} {region or ''} {tier}".casefold()


def _per_gpu(quote: Quote) -> int:
    return quote.offer.price_micro_usd_per_hour // max(1, quote.offer.gpu_count)


_of = operator.attrgetter
_PRICE = _Number(_of("offer.price_micro_usd_per_hour"), _dollars)
# The field without a name is free text.
_FIELDS: dict[str, _Words | _Number] = {
    "": _Words(_all_words, _part),
    "gpu": _Words(lambda offer: _lower(offer.gpu), _gpu),
    "provider": _Words(lambda offer: offer.provider, _provider),
    "region": _Words(lambda offer: _lower(offer.region or ""), _start_of_word),
    "tier": _Words(lambda offer: offer.tier._value_, _one_of(*(tier.value for tier in Tier))),
    "stock": _Words(_stock, _one_of(*(stock.value for stock in Stock), "unknown")),
    "$": _PRICE,
    "price": _PRICE,
    "$gpu": _Number(_per_gpu, _dollars),
    "eff": _Number(_of("effective_micro_usd_per_hour"), _dollars),
    "vram": _Number(_of("offer.vram_gib"), _number),
    "n": _Number(_of("offer.gpu_count"), _number),
    "vcpu": _Number(_of("offer.vcpus"), _number),
    "ram": _Number(_of("offer.ram_gib"), _number),
    "disk": _Number(_of("offer.disk_gib"), _number),
    "rel": _Number(_of("offer.reliability"), _per_cent),
    "age": _Number(_of("offer.fetched_at_ms"), _milliseconds),
}
