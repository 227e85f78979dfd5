"""The page about own photos is true: its commands parse, its flags exist, its limits are those of the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from gaussian_splatting import export
from gaussian_splatting.cli import train_flags
from gaussian_splatting.convert import command, frames, judge, options, pairs

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "own_photos.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^python -m gaussian_splatting\.(\w+) (.*)$", TEXT, flags=re.MULTILINE)
PARSERS = {"convert": command.build_parser, "train": train_flags.build_parser, "export": export.build_parser}


@pytest.mark.parametrize(("module", "words"), COMMANDS)
def test_commands_parse(module, words):
    assert PARSERS[module]().parse_args(shlex.split(words))


def test_every_step_has_its_command():
    assert [module for module, _ in COMMANDS] == ["convert", "train", "export"]


def test_flags_exist():
    known = {text for build in PARSERS.values() for action in build()._actions for text in action.option_strings}
    assert set(re.findall(r"(?<!\w)--[a-z_]+", TEXT)) <= known


def test_limits_are_those_of_the_code():
    least, good = f"{judge.LEAST_SHARE * 100:.0f} %", f"{judge.GOOD_SHARE * 100:.0f} %"
    for words in (
        f"two per second, {frames.FEWEST} to {frames.MOST}",
        f"`--max_size` {options.ConvertOptions().max_size}",
        f"all pairs up to {pairs.EXHAUSTIVE_PHOTOS} photos",
        f"fewer than {options.ENOUGH_FOR_OPENCV} photos",
        f"fewer than {least} of the photos have a pose (said below {good})",
        f"above {judge.WORST_ERROR} pixels (said above {judge.GOOD_ERROR})",
        f"less than {judge.LEAST_ANGLE:.0f} degree (said below {judge.GOOD_ANGLE:.0f})",
    ):
        assert words in TEXT
    assert frames.FRAMES_PER_SECOND == 2
