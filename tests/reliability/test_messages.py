"""Row H3: every message that a user can cause, as it reads. A change of words is seen, and thought about.

After a change that is meant: `UPDATE_MESSAGES=1 python -m pytest tests/reliability/test_messages.py`; read the diff.
"""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path

import pytest
from fault_cases import Case, cases

from gaussian_splatting.errors import SplatError

SNAPSHOT = Path(__file__).with_name("messages.txt")
CASES = dict(cases())


def said(case: Case, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one message of a case, without what differs from machine to machine."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            status = case(folder)
        except SplatError as error:
            message = str(error)
        else:
            assert status == 2, "nobody was refused"
            captured = capsys.readouterr().err
            message = captured[captured.index("error: ") + 7 :]
    return normalised(message, folder)


def normalised(message: str, folder: Path) -> str:
    message = message.strip().replace(str(folder), "<folder>").replace(str(Path.cwd()), "<here>")
    message = re.sub(r"torch \d[\w.+]* sees \d+ CUDA devices", "torch <version> sees <n> CUDA devices", message)
    message = re.sub(r"(\.tiff: .* decoded: )[^;]+", r"\1<by tifffile>", message)  # in other words with every version
    # How long a checkpoint is says nothing about the message: every new option makes it longer.
    message = re.sub(r"(\.safetensors: byte )\d{5,}(.* found )\d{5,}( bytes)", r"\1<n>\2<n>\3", message)
    return re.sub(r"(x{20}|9{20})[x9]+", r"\1…", message)


def kept() -> dict[str, str]:
    found: dict[str, str] = {}
    for block in SNAPSHOT.read_text("utf-8").split("\n\n## ")[1:]:
        name, _, message = block.partition("\n")
        found[name] = message.strip()
    return found


@pytest.fixture(scope="module")
def messages() -> dict[str, str]:
    return kept() if SNAPSHOT.exists() else {}


@pytest.mark.skipif("UPDATE_MESSAGES" in os.environ, reason="the messages are being written")
@pytest.mark.parametrize("name", CASES)
def test_the_message_reads_as_it_did(
    name: str, messages: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(CASES[name], tmp_path, capsys) == messages.get(name)


@pytest.mark.skipif("UPDATE_MESSAGES" not in os.environ, reason="only when asked for")
def test_write_the_messages(tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]) -> None:
    found, faults = {}, {}
    for name, case in CASES.items():
        try:
            found[name] = said(case, tmp_path_factory.mktemp("case"), capsys)
        except BaseException as error:
            faults[name] = repr(error)
    blocks = [f"## {name}\n{message}" for name, message in found.items()]
    SNAPSHOT.write_text(
        "Every message that a user can cause, see test_messages.py.\n\n" + "\n\n".join(blocks) + "\n", "utf-8"
    )
    assert faults == {}


def test_nothing_is_kept_that_nobody_causes(messages: dict[str, str]) -> None:
    assert set(messages) == set(CASES)
    assert len(messages) >= 150


CURE = re.compile(
    r"^argument --\S+: |; |: (use|give|expected)|, expected|expected .*, found|did you mean|nearest: |must (be|hold)|"
    r"must (lie|end|not)|needs? |has no |run `|\. Use |known: |choose|give it once",
    re.DOTALL,
)


@pytest.mark.parametrize("name", sorted(kept() if SNAPSHOT.exists() else {}))
def test_it_says_what_and_what_to_do(name: str, messages: dict[str, str]) -> None:
    message = messages[name]
    assert CURE.search(message), message
    assert 15 < len(message) < 900
    assert not re.search(r"Traceback|Error\b(?!s)|0x[0-9a-f]{6}|<class|object at", message.replace("RuntimeError", ""))
