"""Stages are done once, again when what they depend on changed, and never over a finished scene unasked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gaussian_splatting.convert.work import Work
from gaussian_splatting.errors import SceneError


def opened(folder: Path, *, redo: bool = True) -> Work:
    work = Work(folder)
    work.open(redo=redo)
    return work


def never() -> None:
    raise AssertionError("done again")


def test_a_stage_is_done_once(tmp_path):
    assert opened(tmp_path).stage("features", {"a": 1}, clear=(), run=lambda: [1, 2]) == ([1, 2], False)
    assert opened(tmp_path).stage("features", {"a": 1}, clear=(), run=never) == ([1, 2], True)


def test_another_input_does_it_and_all_that_follow_again(tmp_path):
    for value, known in ((1, False), (1, True), (2, False)):
        work = opened(tmp_path)
        assert work.stage("features", value, clear=(), run=lambda: "f") == ("f", known)
        assert work.stage("matches", "same", clear=(), run=lambda: "m") == ("m", known)


def test_a_killed_stage_goes_on_and_a_changed_one_begins_again(tmp_path):
    work = opened(tmp_path)
    half = work.folder / "half"

    def killed() -> None:
        half.write_text("work")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work.stage("features", 1, clear=(half,), run=killed)
    again = opened(tmp_path)
    assert again.stage("features", 1, clear=(half,), run=half.read_text) == ("work", False)
    assert again.resumes("features")
    with pytest.raises(FileNotFoundError):
        opened(tmp_path).stage("features", 2, clear=(half,), run=half.read_text)


def test_what_somebody_removed_is_made_again_with_all_that_follows(tmp_path):
    work = opened(tmp_path)
    made = work.folder / "photos"
    work.stage("pictures", 1, clear=(), run=made.mkdir, left=(made,))
    work.stage("features", 1, clear=(), run=lambda: None)
    made.rmdir()
    again = opened(tmp_path)
    assert again.stage("pictures", 1, clear=(), run=made.mkdir, left=(made,)) == (None, False)
    assert again.stage("features", 1, clear=(), run=lambda: None) == (None, False)
    again.stage("publish", 1, clear=(), run=lambda: None)
    made.rmdir()  # the scene is finished and needs it no more
    assert opened(tmp_path, redo=False).stage("pictures", 1, clear=(), run=never, left=(made,))[1]


def test_a_finished_conversion_is_not_changed_unasked(tmp_path):
    work = opened(tmp_path)
    work.stage("features", 1, clear=(), run=lambda: None)
    work.stage("publish", 1, clear=(), run=lambda: None)
    with pytest.raises(SceneError, match=r"of other photos or settings \(its features would differ\); choose"):
        opened(tmp_path, redo=False).stage("features", 2, clear=(), run=never)
    assert opened(tmp_path, redo=False).stage("features", 1, clear=(), run=never)[1]
    assert not opened(tmp_path, redo=True).is_done("publish")


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    work = opened(tmp_path)
    leftover = work.folder / ".stages.json.77-0.part"
    leftover.write_text("half")
    opened(tmp_path)
    assert not leftover.exists()


@pytest.mark.parametrize("content", [[], {"version": 99, "stages": {}}, {"version": 1, "stages": {"a": 3}}])
def test_a_record_of_something_else_is_refused(tmp_path, content):
    opened(tmp_path)
    (tmp_path / "distorted" / "stages.json").write_text(json.dumps(content))
    with pytest.raises(SceneError, match=r"stages\.json: not the record of a conversion by this version; remove"):
        Work(tmp_path)
