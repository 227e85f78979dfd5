"""Write the report of a run again, from what its folder holds now."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gaussian_splatting.cli import commands


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m gaussian_splatting.report", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("-d", "--destination", action="append", required=True, help="a run folder; may be repeated")
    commands.add_common_flags(parser, device=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the status for the shell."""
    return commands.run_command(report, build_parser(), argv)


def report(arguments: argparse.Namespace) -> None:
    """Everything the command does, as library calls."""
    from gaussian_splatting.errors import SplatError
    from gaussian_splatting.report.page import write_report
    from gaussian_splatting.runs.claim import held_by
    from gaussian_splatting.runs.folder import RunFolder

    for path in arguments.destination:
        folder = RunFolder(path)
        if not folder.path.is_dir():
            raise SplatError(f"{folder.path}: there is no such folder; -d takes the folder that train wrote")
        if not held_by(folder) and not folder.rendered_folders():
            raise SplatError(f"{folder.path}: holds nothing of a run; -d takes the folder that train wrote")
        commands.say(str(write_report(folder)))


if __name__ == "__main__":
    sys.exit(main())
