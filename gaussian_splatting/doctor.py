"""Say what is installed, what this machine can do, which backend will be used and why, and how to mend the rest."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from gaussian_splatting import card_health, health
from gaussian_splatting.cli import commands
from gaussian_splatting.health import Finding, State


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m gaussian_splatting.doctor", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    commands.add_common_flags(parser, device=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the status for the shell: 1 when nothing can run here."""
    return commands.run_command(doctor, build_parser(), argv)


def doctor(arguments: argparse.Namespace) -> None:
    """Look at everything and print it."""
    found = examine()
    if arguments.json:
        commands.say(json.dumps([asdict(finding) for finding in found], indent=2))
    else:
        commands.say(spoken(found))
    if any(finding.blocks for finding in found):
        raise SystemExit(1)


def examine() -> list[Finding]:
    """Everything there is to say about this environment."""
    found = [*health.python_findings(), *health.library_findings()]
    found += [*health.processor_findings(), *card_health.cuda_findings(), *health.backend_findings()]
    return [*found, *health.storage_findings(), *health.extra_findings()]


_MARKS: dict[State, str] = {"good": "ok", "optional": "-", "bad": "!!"}


def spoken(found: Sequence[Finding]) -> str:
    """The findings as lines by topic, each cure below its finding."""
    width = max((len(finding.name) for finding in found), default=0)
    lines: list[str] = []
    for topic in dict.fromkeys(finding.topic for finding in found):
        lines += ["", topic.upper()] if lines else [topic.upper()]
        for finding in found:
            if finding.topic == topic:
                lines.append(f"  {_MARKS[finding.state]:<2} {finding.name:<{width}}  {finding.text}")
                if finding.cure is not None:
                    lines.append(f"     {'':<{width}}  {finding.cure}")
    bad = sum(finding.state == "bad" for finding in found)
    verdict = "everything needed is here" if bad == 0 else f"{bad} to mend, marked with !!"
    return "\n".join([*lines, "", verdict])


if __name__ == "__main__":
    sys.exit(main())
