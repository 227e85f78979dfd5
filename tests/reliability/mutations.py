"""Damages files in the ways of disks, networks and exporters; the same seed gives the same damage."""

from __future__ import annotations

import hashlib
import random
import signal
import struct
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gaussian_splatting.errors import SplatError

CORPUS = Path(__file__).parent / "corpus"
MEMORY_ABOVE_FILE = 64 << 20
LONGEST_CASE = 1.0  # seconds of processor time

EXTREMES = (0, 1, 2**31, 2**32 - 1, 2**53, 2**63, 2**64 - 1)
_WORDS_OF_EIGHT = tuple(struct.pack("<Q", value) for value in EXTREMES) + tuple(
    struct.pack("<d", value) for value in (float("nan"), float("inf"), -float("inf"), 0.0, -1.0, 1e300, 5e-324)
)
_WORDS_OF_FOUR = tuple(struct.pack("<I", value & 0xFFFFFFFF) for value in (0, 1, 5, 17, 18, 77, 2**31, -1))
_TEXT_FRAGMENTS = (
    b"-nan(ind)", b"nan", b"inf", b"1e999", b"-1e999", b"1,5", b"0,00", b"\r\n", b"\n", b"\n\n", b"\r", b"\t", b"  ",
    b"#", b"# comment\n", b"\xef\xbb\xbf", b"\xff", b"\x00", b"1_0", b"0x10", b"+1", b"-1", b"1.", b".5", b"1e5",
    b"18446744073709551616", b"9" * 400, b"PINHOLE", b"OPENCV", b"OTHER", b"\xc3\xa9", b"\xc2\xa0", b"\xe2\x80\xa8",
)  # fmt: skip
_PLY_FRAGMENTS = (
    b"property float x\n", b"property list uchar int v\n", b"property list float int v\n", b"element vertex 3\n",
    b"element face 1\n", b"end_header\n", b"comment \xff\n", b"obj_info a\n", b"format ascii 1.0\n", b"ply\n",
    b"-1", b"1000000000", b"1000000000000", b"99999999999999999999", b"nan", b"inf", b"1e999", b"1_0", b"f_rest_0",
    b"double", b"float32", b"uchar", b"char", b"ushort", b"int", b"list", b"big", b"little", b"property",
    b"\r\n", b"\r", b" ", b"\n",
)  # fmt: skip


class Damage:
    """A stream of damaged copies of some seed files."""

    def __init__(self, seeds: list[bytes], seed: int, *, fragments: tuple[bytes, ...] = ()) -> None:
        self._seeds = seeds
        self._random = random.Random(seed)
        self._fragments = fragments
        self._ways: list[Callable[[bytearray], None]] = [
            self._flip, self._set, self._insert, self._cut,
            self._repeat, self._put_eight, self._put_four, self._truncate,
        ]  # fmt: skip
        if fragments:
            self._ways += [self._put_fragment, self._insert_fragment, self._insert_fragment, self._swap_lines]

    def cases(self, number: int) -> Iterator[bytes]:
        """`number` damaged files."""
        for _ in range(number):
            data = bytearray(self._random.choice(self._seeds))
            for _ in range(self._random.choice((1, 1, 1, 2, 3))):
                self._random.choice(self._ways)(data)
            yield bytes(data)

    def _place(self, data: bytearray) -> int:
        return int(self._random.random() * (len(data) + 1))

    def _flip(self, data: bytearray) -> None:
        if data:
            data[int(self._random.random() * len(data))] ^= 1 << self._random.randrange(8)

    def _set(self, data: bytearray) -> None:
        if data:
            data[int(self._random.random() * len(data))] = self._random.randrange(256)

    def _insert(self, data: bytearray) -> None:
        place = self._place(data)
        data[place:place] = self._random.randbytes(self._random.choice((1, 2, 8)))

    def _cut(self, data: bytearray) -> None:
        place = self._place(data)
        del data[place : place + self._random.choice((1, 4, 8, 24))]

    def _repeat(self, data: bytearray) -> None:
        place, length = self._place(data), self._random.choice((1, 8, 24, 64))
        data[place:place] = data[place : place + length]

    def _put_eight(self, data: bytearray) -> None:
        place = self._place(data)
        data[place : place + 8] = self._random.choice(_WORDS_OF_EIGHT)

    def _put_four(self, data: bytearray) -> None:
        place = self._place(data)
        data[place : place + 4] = self._random.choice(_WORDS_OF_FOUR)

    def _truncate(self, data: bytearray) -> None:
        del data[self._place(data) :]

    def _put_fragment(self, data: bytearray) -> None:
        place, fragment = self._word(data), self._random.choice(self._fragments)
        end = place
        while end < len(data) and data[end : end + 1] not in (b" ", b"\n", b"\r"):
            end += 1
        data[place:end] = fragment

    def _insert_fragment(self, data: bytearray) -> None:
        place = self._word(data)
        data[place:place] = self._random.choice(self._fragments)

    def _swap_lines(self, data: bytearray) -> None:
        lines = bytes(data).split(b"\n")
        first, second = self._random.randrange(len(lines)), self._random.randrange(len(lines))
        lines[first], lines[second] = lines[second], lines[first]
        data[:] = b"\n".join(lines)

    def _word(self, data: bytearray) -> int:
        """The beginning of some word."""
        place = data.rfind(b" ", 0, self._place(data))
        return place + 1


def text_fragments() -> tuple[bytes, ...]:
    return _TEXT_FRAGMENTS


def ply_fragments() -> tuple[bytes, ...]:
    return _PLY_FRAGMENTS


class Hang(BaseException):
    """A case took longer than `LONGEST_CASE`."""


@contextmanager
def bounded_time() -> Iterator[Callable[[], None]]:
    """Gives a function to call before each case: a case that then runs too long is interrupted with `Hang`."""
    if not hasattr(signal, "setitimer"):  # not on Windows
        yield lambda: None
        return

    def interrupt(*_: Any) -> None:
        raise Hang(f"more than {LONGEST_CASE} s")

    before = signal.signal(signal.SIGVTALRM, interrupt)
    try:
        yield lambda: signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST_CASE) and None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@contextmanager
def bounded_memory(allowed: int = MEMORY_ABOVE_FILE) -> Iterator[None]:
    """Fails if the memory of this process grows by more than `allowed` bytes at any moment inside."""
    status = Path("/proc/self/status")
    if not status.exists():
        yield
        return

    def field(name: str) -> int:
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(name)) * 1024

    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = field("VmRSS:")
    yield
    growth = field("VmHWM:") - before
    assert growth <= allowed, f"{growth / 2**20:.0f} MiB more than before"


def peak_of(parse: Callable[[bytes], Any], data: bytes) -> int:
    """The most memory that one call takes, whether it accepts the file or not."""
    tracemalloc.start()
    try:
        parse(data)
    except (ValueError, struct.error, KeyError, IndexError, OverflowError):
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


def outcome(parse: Callable[[bytes], Any], data: bytes) -> Any:
    """What a parser makes of a file: a value, or the `SplatError` it refuses it with. Anything else escapes."""
    try:
        return parse(data)
    except SplatError as error:
        return error


def campaign(
    cases: Iterator[bytes],
    parse: Callable[[bytes], Any],
    reference: Callable[[bytes], Any],
    check_refusal: Callable[[str], bool],
) -> tuple[int, int]:
    """Runs every case through both parsers: both accept it with equal values, or both refuse it.

    Gives how many were accepted and refused. A case that fails is kept in the corpus, which is replayed first.
    """
    accepted = refused = 0
    with bounded_memory(), bounded_time() as begin, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for data in cases:
            begin()
            fault = judge(data, parse, reference, check_refusal)
            if fault is None:
                accepted += 1
            elif fault == "":
                refused += 1
            else:
                raise AssertionError(f"{fault}: kept as {keep(data)}")
    return accepted, refused


def judge(
    data: bytes,
    parse: Callable[[bytes], Any],
    reference: Callable[[bytes], Any],
    check_refusal: Callable[[str], bool],
) -> str | None:
    """None when rightly accepted, empty when rightly refused, otherwise what went wrong."""
    try:
        found = outcome(parse, data)
    except (Exception, Hang) as escaped:
        return f"escaped: {escaped!r}"
    expected = reference(data)
    if isinstance(found, SplatError):
        if expected is not None:
            return f"refused a good file: {found}"
        return "" if check_refusal(str(found)) else f"the message names no place: {found}"
    if expected is None:
        return "accepted a bad file"
    return None if found == expected else f"read {found}, expected {expected}"


def keep(data: bytes) -> Path:
    """Stores a file that broke a reader."""
    path = CORPUS / f"new-{hashlib.sha256(data).hexdigest()[:16]}.bin"
    path.write_bytes(data)
    return path
