"""Command-line flags made from declared options: one flag per option, and `-o name=value` for the same.

The flags stand in `flag_table.json`, made from the option classes by `tools/make_flag_table.py`, so that `--help` need
not import PyTorch; a test holds the table against the classes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gaussian_splatting.errors import SplatError
from gaussian_splatting.options import FlatOption, Options, describe, flat_options, nearest, parse

DESTINATION = "option:"
TABLE = Path(__file__).with_name("flag_table.json")


def flag_table() -> dict[str, Any]:
    """The stored table: modes, presets, features, and per option group its title and its flags with their help."""
    return json.loads(TABLE.read_text(encoding="utf-8"))


def make_flag_table() -> dict[str, Any]:
    """The table as the trainer classes give it."""
    from gaussian_splatting import prepare
    from gaussian_splatting.trainer.compose import FEATURES
    from gaussian_splatting.trainer.presets import PRESETS

    groups = {}
    for group, options in sorted(prepare.all_option_groups().items()):
        title = (type(options).__doc__ or group).strip().splitlines()[0]
        flags = {name: _help(entry) for name, entry in flat_options({group: options}).items()}
        groups[group] = {"title": title, "flags": flags}
    names = {"modes": sorted(prepare.shliftmodes), "presets": list(PRESETS), "features": sorted(FEATURES)}
    return names | {"groups": groups}


def add_option_flags(parser: argparse.ArgumentParser, table: Mapping[str, Any]) -> None:
    """Add one flag per option of the table, and `-o`."""
    for group, entry in table["groups"].items():
        section = parser.add_argument_group(f"{group} options", entry["title"])
        for name, meaning in entry["flags"].items():
            section.add_argument(
                f"--{name}", dest=DESTINATION + name, metavar="VALUE", default=None, help=meaning.replace("%", "%%")
            )
    parser.add_argument(
        "-o", "--option", action="append", default=[], metavar="NAME=VALUE",
        help="set any option above, or one of your own trainer's; may be repeated",
    )  # fmt: skip


def _help(entry: FlatOption) -> str:
    scaling = "; follows the length of the run" if entry.moment else ""
    return f"{entry.meaning} ({describe(entry.annotation)}; default {entry.default}{scaling})"


def given_options(arguments: argparse.Namespace, groups: Mapping[str, Options], owner: str) -> dict[str, Any]:
    """The options given on the command line, parsed by their declared types.

    Raises SplatError for an option that `owner` does not have, a value of the wrong type, or the same option twice.
    """
    texts = {
        key.removeprefix(DESTINATION): text
        for key, text in vars(arguments).items()
        if key.startswith(DESTINATION) and text is not None
    }
    for pair in arguments.option:
        name, equals, text = pair.partition("=")
        if not equals:
            raise SplatError(f"-o {pair[:80]!r}: expected NAME=VALUE, for example -o densify_grad_threshold=1e-4")
        if name in texts:
            raise SplatError(f"option {name} is given twice: {texts[name]!r} and {text!r}; give it once")
        texts[name] = text
    return {name: parse_known(name, text, groups, owner) for name, text in texts.items()}


def parse_known(name: str, text: str, groups: Mapping[str, Options], owner: str) -> Any:
    """The value of one option of `groups` from its text."""
    known = flat_options(groups)
    if name not in known:
        raise SplatError(f"{owner} has no option {name!r}; nearest: {nearest(name, known)}")
    try:
        return parse(name, text, known[name].annotation)
    except ValueError as error:
        raise SplatError(str(error)) from error
