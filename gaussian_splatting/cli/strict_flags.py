"""Flags are never guessed and never ignored: an unknown one is answered with the nearest, a repeated one is refused."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence

LONGEST_SHOWN = 60


def parse_strictly(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """`parser.parse_args`, but an unknown flag is refused with the nearest names, and so is a flag given twice."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments, unknown = parser.parse_known_args(words)
    actions = {name: action for action in parser._actions for name in action.option_strings}
    if unknown:
        parser.error(_about_unknown(unknown, actions))
    seen: dict[str, str] = {}
    for word in words[: words.index("--")] if "--" in words else words:
        name = _flag_of(word, actions)
        if name is None or isinstance(actions[name], argparse._AppendAction):
            continue
        destination = actions[name].dest
        if destination in seen:
            other = "" if seen[destination] == name else f" (as {seen[destination]} and as {name})"
            parser.error(f"{name} is given twice{other}; give it once")
        seen[destination] = name
    return arguments


def _about_unknown(unknown: Sequence[str], actions: dict[str, argparse.Action]) -> str:
    flags = [word for word in unknown if word.startswith("-")]
    if not flags:
        return f"unexpected {_shown(unknown[0])}; flags begin with a dash"
    name = flags[0].partition("=")[0]
    near = difflib.get_close_matches(name, actions, n=3, cutoff=0.6)
    advice = f"did you mean {' or '.join(near)}?" if near else "--help lists all"
    return f"there is no flag {_shown(name)}; {advice}"


def _flag_of(word: str, actions: dict[str, argparse.Action]) -> str | None:
    """The flag that a word of the command line is, if it is one: --name, --name=value, -n or -nvalue."""
    name = word.partition("=")[0]
    if name in actions:
        return name
    short = word[:2]
    return short if short in actions and not word.startswith("--") else None


def _shown(text: str) -> str:
    return repr(text) if len(text) <= LONGEST_SHOWN else repr(text[:LONGEST_SHOWN] + "…")
