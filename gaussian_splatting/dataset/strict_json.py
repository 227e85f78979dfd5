"""JSON from strangers: bounded, without duplicates or NaN, and every wrong value is named by its place in the file."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gaussian_splatting.errors import FormatError
from gaussian_splatting.io.reader import read_content

MAX_BYTES = 256 << 20
MAX_DIGITS = 400
"""No number that a float64 can hold needs more characters than this."""


@dataclass(frozen=True)
class JsonValue:
    """A value and its place, such as `cameras[12].rotation`; what does not fit is a `FormatError` that says where."""

    value: Any
    where: str
    path: str | Path

    def __getitem__(self, key: str) -> JsonValue:
        found = self.get(key)
        if found is None:
            keys = ", ".join(map(str, list(self._object())[:12])) or "none"
            raise self.fault(f"has no {key!r} (it has: {keys})")
        return found

    def get(self, key: str) -> JsonValue | None:
        """The value of a key, None when it is absent."""
        value = self._object()
        return JsonValue(value[key], self._place(key), self.path) if key in value else None

    def entries(self) -> dict[str, JsonValue]:
        """The keys and values of an object."""
        return {key: JsonValue(value, self._place(key), self.path) for key, value in self._object().items()}

    def items(self) -> list[JsonValue]:
        """The values of an array."""
        if not isinstance(self.value, list):
            raise self.fault("must be an array")
        return [JsonValue(value, f"{self.where}[{index}]", self.path) for index, value in enumerate(self.value)]

    def number(self) -> float:
        """A finite number."""
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float)):
            raise self.fault("must be a number")
        try:
            number = float(self.value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.fault("must be a number that float64 can hold")
        return number

    def integer(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`; 640.0 counts as 640."""
        number = self.number()
        if number != int(number) or not low <= number <= high:
            raise self.fault(f"must be a whole number from {low} to {high}")
        return int(number)

    def text(self) -> str:
        """A string without NUL."""
        if not isinstance(self.value, str) or "\0" in self.value:
            raise self.fault("must be a text")
        return self.value

    def array(self, *shape: int) -> np.ndarray:
        """Nested arrays of finite numbers of exactly this shape, as float64."""
        return np.array(_numbers(self, shape), dtype=np.float64).reshape(shape)

    def fault(self, expected: str) -> FormatError:
        """The error that says that this value is not as expected."""
        place = self.where or "the whole"
        return FormatError(f"{self.path}: {place} {expected}; found {_shown(self.value)}; correct the file")

    def _object(self) -> dict[str, Any]:
        if not isinstance(self.value, dict):
            raise self.fault("must be an object")
        return self.value

    def _place(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key


def read_json(path: str | Path, where: str = "") -> JsonValue:
    """The content of a JSON file of at most 256 MiB; `where` names its outermost value in messages."""
    path = Path(path)
    content = read_content(path)
    if len(content) > MAX_BYTES:
        raise FormatError(f"{path}: more than {MAX_BYTES >> 20} MiB of JSON; this is no list of cameras")
    return parse_json(content[:], path, where)


def parse_json(content: bytes, path: str | Path, where: str = "") -> JsonValue:
    """The value of a JSON text in UTF-8."""
    try:
        text = content.decode("utf-8-sig")
        value = json.loads(
            text,
            parse_int=lambda digits: int(_short(digits)),
            parse_float=lambda digits: float(_short(digits)),
            parse_constant=_no_constant,
            object_pairs_hook=_without_duplicates,
        )
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise FormatError(f"{path}: not JSON at {place}: {error.msg}; correct the file") from error
    except RecursionError as error:
        raise FormatError(f"{path}: the JSON is nested too deeply; this is no list of cameras") from error
    except ValueError as error:
        raise FormatError(f"{path}: {error}; correct the file") from error
    return JsonValue(value, where, path)


def _short(digits: str) -> str:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} characters ({digits[:20]}…)")
    return digits


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the key {twice!r} appears twice in one object")
    return found


def _numbers(value: JsonValue, shape: Sequence[int]) -> Any:
    if not shape:
        return value.number()
    if not isinstance(value.value, list) or len(value.value) != shape[0]:
        size = " x ".join(map(str, shape))
        raise value.fault(f"must hold {size} numbers")
    return [_numbers(item, shape[1:]) for item in value.items()]


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False) if not isinstance(value, (dict, list)) else None
    if text is None:
        text = f"an array of {len(value)}" if isinstance(value, list) else f"an object with {len(value)} keys"
    return text if len(text) <= 60 else text[:60] + "…"
