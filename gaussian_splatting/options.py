"""Options declared once: a frozen dataclass per feature, whose fields carry meaning, range and unit.

A group called `depth` with a field `from_iter` is one thing under four spellings:
`BaseDepthTrainer(..., depth_from_iter=2000)`, `--depth_from_iter 2000`, `-o depth_from_iter=2000` and
`class Mine(BaseDepthTrainer): depth = DepthOptions(from_iter=2000)`.
"""

from __future__ import annotations

import difflib
import math
import types
from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

REFERENCE_LENGTH = 30_000
"""Steps of the run that the defaults were chosen for."""


def option(
    default: Any,
    meaning: str,
    *,
    name: str | None = None,
    minimum: float = 0.0,
    maximum: float = 1e12,
    moment: bool = False,
) -> Any:
    """A field of an `Options` class.

    `name` is the flat name where it is not `<group>_<field>`. Numbers outside [minimum, maximum] and non-finite ones
    are refused. `moment` marks step numbers, which follow the length of the run.
    """
    details = {"meaning": meaning, "name": name, "minimum": minimum, "maximum": maximum, "moment": moment}
    return field(default=default, metadata=details)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base of every group of options. Values are checked when the group is made."""

    def __post_init__(self) -> None:
        for item in fields(self):
            check_value(item.name, getattr(self, item.name), item)


def check_value(label: str, value: Any, item: Field[Any]) -> None:
    """Refuse a number outside the declared range of its option."""
    numbers = value if isinstance(value, tuple) else (value,)
    low, high = item.metadata.get("minimum", -math.inf), item.metadata.get("maximum", math.inf)
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            continue
        if not math.isfinite(number) or not low <= number <= high:
            raise ValueError(f"option {label} is {number}; it must be between {low:g} and {high:g}")


def flat_name(group: str, item: Field[Any]) -> str:
    """The name users type: the declared one, or `<group>_<field>`."""
    return item.metadata.get("name") or f"{group}_{item.name}"


@dataclass(frozen=True)
class FlatOption:
    """One option as the command line and the keyword arguments know it."""

    name: str
    group: str
    field: str
    annotation: Any
    default: Any
    meaning: str
    moment: bool

    def at_length(self, factor: float) -> Any:
        """The default in a run whose length is `factor` times that of the recipe."""
        if self.default is None:
            return None
        if self.moment:
            return max(1, round(self.default * factor))
        return self.default


def flat_options(groups: Mapping[str, Options]) -> dict[str, FlatOption]:
    """Every option of the groups by flat name. A flat name claimed twice is a TypeError."""
    found: dict[str, FlatOption] = {}
    for group, options in groups.items():
        hints = get_type_hints(type(options))
        for item in fields(options):
            name = flat_name(group, item)
            if name in found:
                raise TypeError(f"option {name} is declared by both {found[name].group} and {group}; rename one")
            meaning = item.metadata.get("meaning", "")
            moment = item.metadata.get("moment", False)
            value = getattr(options, item.name)
            found[name] = FlatOption(name, group, item.name, hints[item.name], value, meaning, moment)
    return found


LONGEST_LIST = 16


def nearest(name: str, known: Iterable[str]) -> str:
    """The known names that look most like `name`, for error messages: three, or those of a short list."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if not close:
        close = known if len(known) <= LONGEST_LIST else difflib.get_close_matches(name, known, n=3, cutoff=0)
    return ", ".join(close)


def with_values(groups: Mapping[str, Options], values: Mapping[str, Any], owner: str) -> dict[str, Options]:
    """The groups with flat-named values put in.

    Raises TypeError for an unknown name (with the nearest known ones), ValueError for a wrong type or range.
    """
    known = flat_options(groups)
    changes: dict[str, dict[str, Any]] = {group: {} for group in groups}
    for name, value in values.items():
        if name not in known:
            raise TypeError(f"{owner} has no option {name!r}; nearest: {nearest(name, known)}")
        entry = known[name]
        fitting = conform(name, value, entry.annotation)
        check_value(name, fitting, _declared(groups[entry.group], entry.field))
        changes[entry.group][entry.field] = fitting
    return {
        group: replace(options, **changes[group]) if changes[group] else options for group, options in groups.items()
    }


def _declared(options: Options, name: str) -> Field[Any]:
    return next(item for item in fields(options) if item.name == name)


def conform(name: str, value: Any, annotation: Any) -> Any:
    """`value` as the declared type: text is parsed, an int may stand for a float; anything else must fit already."""
    if isinstance(value, str) and str not in _alternatives(annotation):
        return parse(name, value, annotation)
    for kind in _alternatives(annotation):
        if _fits(value, kind):
            return (
                float(value)
                if kind is float
                else tuple(float(v) for v in value)
                if get_origin(kind) is tuple
                else value
            )
    raise ValueError(f"option {name} is {value!r}; expected {describe(annotation)}")


def parse(name: str, text: str, annotation: Any) -> Any:
    """The value that `text` spells, by declared type. Never evaluates code."""
    for kind in _alternatives(annotation):
        try:
            return _parse_one(text.strip().strip("'\""), kind)
        except ValueError:
            continue
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    raise ValueError(f"option {name} is {shown!r}; expected {describe(annotation)}")


def describe(annotation: Any) -> str:
    """The declared type in words."""
    words = {int: "an integer", float: "a number", bool: "true or false", str: "text", type(None): "none"}
    parts: list[str] = []
    for kind in _alternatives(annotation):
        if get_origin(kind) is Literal:
            parts += [str(choice) for choice in get_args(kind)]
        elif get_origin(kind) is tuple:
            parts.append(f"{len(get_args(kind))} numbers such as 0.1,0.2,0.3")
        else:
            parts.append(words.get(kind, str(kind)))
    return " or ".join(parts)


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _fits(value: Any, kind: Any) -> bool:
    if kind is type(None):
        return value is None
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is tuple:
        sized = isinstance(value, (tuple, list)) and len(value) == len(get_args(kind))
        return sized and all(_fits(entry, float) for entry in value)
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _parse_one(text: str, kind: Any) -> Any:
    if kind is type(None):
        if text.lower() not in ("none", "null"):
            raise ValueError
        return None
    if kind is bool:
        return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[_known_bool(text)]
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise ValueError
        return text
    if get_origin(kind) is tuple:
        numbers = tuple(float(part) for part in text.strip("()[]").split(","))
        if len(numbers) != len(get_args(kind)):
            raise ValueError
        return numbers
    return _parse_number(text, kind) if kind in (int, float) else kind(text)


def _known_bool(text: str) -> str:
    if text.lower() not in ("true", "yes", "1", "false", "no", "0"):
        raise ValueError
    return text.lower()


def _parse_number(text: str, kind: type) -> int | float:
    if len(text) > 40:
        raise ValueError
    if kind is int:
        cleaned = text.replace("_", "")
        return int(cleaned) if not any(mark in cleaned for mark in ".eE") else _whole(float(cleaned))
    return float(text)


def _whole(number: float) -> int:
    if not number.is_integer():
        raise ValueError
    return int(number)


def scaled_to_length(
    groups: Mapping[str, Options], iterations: int, explicit: Iterable[str] = (), *, reference: int = REFERENCE_LENGTH
) -> dict[str, Options]:
    """The groups with every moment scaled from a `reference`-step recipe to a run of `iterations` steps.

    Moments (from, until, max_steps) are scaled in proportion. Periods are not: in one, statistics are gathered over the
    views, or the optimiser recovers from a reset, and both take as long in a short run. `explicit` options stay.
    """
    keep, factor, result = set(explicit), iterations / reference, {}
    for group, options in groups.items():
        changes = {
            entry.field: entry.at_length(factor)
            for name, entry in flat_options({group: options}).items()
            if entry.moment and factor != 1 and name not in keep
        }
        result[group] = replace(options, **changes) if changes else options
    return result
