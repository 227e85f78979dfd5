"""Every message that docs/troubleshooting.md explains is one that the package can say."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^### `(.+)`$", TEXT, flags=re.MULTILINE)


@cache
def said() -> str:
    """Every text in the package, with … for what it fills in; adjoining pieces are one."""
    texts = []
    for path in sorted((ROOT / "gaussian_splatting").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n\0\n".join(texts)


@pytest.mark.parametrize("message", QUOTED)
def test_the_package_can_say_it(message: str) -> None:
    assert message in said()


def test_every_heading_is_a_message_and_has_a_cure() -> None:
    sections = re.split(r"^### ", TEXT, flags=re.MULTILINE)[1:]
    assert len(sections) == len(QUOTED) > 20
    assert [section.splitlines()[0] for section in sections if "**Cure:**" not in section] == []
