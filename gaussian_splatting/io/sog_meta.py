"""The `meta.json` of SOG files: values that know their place, so that what does not fit is named."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from gaussian_splatting.errors import FormatError
from gaussian_splatting.io.gaussian_arrays import Floats


@dataclass(frozen=True)
class Meta:
    """A value of `meta.json` and its place; what does not fit is a `FormatError` that names the place."""

    value: Any
    place: str
    path: str | os.PathLike[str]

    def has(self, key: str) -> bool:
        """Whether this is an object with that key."""
        return isinstance(self.value, dict) and self.value.get(key) is not None

    def __getitem__(self, key: str) -> Meta:
        if not self.has(key):
            raise self.fault(f"an object with {key!r}")
        return Meta(self.value[key], f"{self.place}: {key}", self.path)

    def integer(self, least: int, largest: int) -> int:
        """A whole number within limits."""
        if type(self.value) is not int or not least <= self.value <= largest:
            raise self.fault(f"a whole number from {least} to {largest}")
        return self.value

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            raise self.fault("true or false")
        return self.value

    def numbers(self, count: int) -> Floats:
        """That many numbers; a single number counts as one."""
        values = self.value if isinstance(self.value, list) else [self.value]
        if len(values) != count or not all(type(value) in (int, float) for value in values):
            raise self.fault(f"{count} numbers")
        with np.errstate(over="ignore"):
            return np.array(values, np.float64).astype(np.float32)

    def files(self, count: int) -> list[str]:
        """That many names of files."""
        names = self["files"]
        if not isinstance(names.value, list) or len(names.value) != count:
            raise names.fault(f"{count} names of files")
        if not all(isinstance(name, str) for name in names.value):
            raise names.fault("names of files")
        return names.value

    def fault(self, wanted: str) -> FormatError:
        """The error to raise about this value."""
        found = str(self.value)
        shown = found if len(found) <= 80 else found[:80] + "…"
        return FormatError(
            f"{os.fspath(self.path)}: {self.place}: expected {wanted}, found {shown}; "
            "the file is damaged or of another format: copy or export it again"
        )
