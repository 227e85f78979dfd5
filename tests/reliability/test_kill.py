"""Rows E5 to E8: the train command is killed at any moment, rerun, and ends with the same bytes.

The short versions run with every test run; `-m slow` runs 50 unaimed, 50 aimed and 10 repeated kills.
"""

from __future__ import annotations

import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from small_run import make_scene, splat
from toy import results
from whole_files import damage
from zygote import Zygote

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and signals")

FEW = [pytest.param(6, id="6 kills"), pytest.param(50, id="50 kills", marks=pytest.mark.slow)]
SETTINGS = [
    "--mode", "densify", "-i", "60", "--sh_degree", "1", "--checkpoint_interval", "7", "--save_iterations", "20", "40",
    "--densify_interval", "10", "--densify_from_iter", "5", "--prune_interval", "10", "--prune_from_iter", "15",
    "--eval", "--quiet",
]  # fmt: skip


class Bench:
    """A scene, the command that trains it, and what an undisturbed run of it leaves behind."""

    def __init__(self, zygote: Zygote, folder: Path) -> None:
        self.zygote, self.folder = zygote, folder
        self.scene = make_scene(folder / "scene", splat(), 9)
        assert self.train(self.folder / "undisturbed") == 0, self.log
        began = time.monotonic()
        assert self.train(self.folder / "timed") == 0, self.log
        self.seconds = time.monotonic() - began
        self.expected = results(self.folder / "undisturbed")
        assert "point_cloud/iteration_60/point_cloud.ply" in self.expected
        assert "evaluations.jsonl" in self.expected

    def train(self, run: Path, plan: list[Any] | None = None, **hooks: Any) -> int:
        arguments = ["-s", str(self.scene), "-d", str(run), *SETTINGS]
        return self.zygote.trial("command", *arguments, plan=plan, log=self.folder / "log", **hooks)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def assert_whole(self, run: Path) -> None:
        assert damage(run) == []

    def assert_recovers(self, run: Path, what: str) -> None:
        """A rerun ends well, with the bytes of the undisturbed run."""
        assert self.train(run) == 0, f"{what}: {self.log[-2000:]}"
        assert results(run) == self.expected, what


@pytest.fixture(scope="module")
def bench(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(zygote, tmp_path_factory.mktemp("bench"))


KILL = ["signal", signal.SIGKILL]


def aimed(count: int, seconds: float) -> list[Any]:
    """Kills `seconds` after the beginning of the count-th checkpoint."""
    return [["hear", "s", count], ["sleep", seconds], KILL]


def test_the_run_is_repeatable(bench: Bench):
    """G1: without this the tests below would prove nothing."""
    assert results(bench.folder / "timed") == bench.expected


@pytest.mark.parametrize("number", FEW)
def test_killed_at_any_moment(bench: Bench, tmp_path: Path, number: int):
    draw, killed, tries = random.Random(5), 0, 0
    while killed < number:
        tries += 1
        assert tries <= 4 * number
        run, seconds = tmp_path / str(tries), draw.uniform(0, bench.seconds)
        if bench.train(run, [["sleep", seconds], KILL]) != -signal.SIGKILL:
            bench.seconds *= 0.9  # it ended before: the machine is faster than it was
            continue
        killed += 1
        bench.assert_whole(run)
        bench.assert_recovers(run, f"killed after {seconds:.3f} s")


@pytest.mark.parametrize("number", FEW)
def test_killed_inside_a_save(bench: Bench, tmp_path: Path, number: int):
    """The writer is slowed down, so that most kills hit it; see the control."""
    draw, killed = random.Random(6), 0
    for index in range(number):
        run, count, seconds = tmp_path / str(index), draw.randint(1, 8), draw.uniform(0, 0.05)
        killed += bench.train(run, aimed(count, seconds), slow=True) == -signal.SIGKILL
        bench.assert_whole(run)
        bench.assert_recovers(run, f"killed {seconds:.3f} s into save {count}")
    assert killed == number


def test_a_writer_in_place_fails_the_same_test(bench: Bench, tmp_path: Path):
    """The control: aimed kills do hit the save."""
    draw, damaged = random.Random(6), 0
    for index in range(8):
        run, count, seconds = tmp_path / str(index), draw.randint(1, 8), draw.uniform(0, 0.03)
        bench.train(run, aimed(count, seconds), slow=True, naive=True)
        damaged += damage(run) != []
    assert damaged >= 2


@pytest.mark.parametrize(
    "number", [pytest.param(1, id="1 run"), pytest.param(10, marks=pytest.mark.slow, id="10 runs")]
)
def test_killed_again_and_again_and_while_resuming(bench: Bench, tmp_path: Path, number: int):
    draw = random.Random(7)
    for index in range(number):
        run = tmp_path / str(index)
        for kill in range(draw.randint(4, 10)):
            early = kill % 2  # soon after the start: while the run is taken up again
            bench.train(run, [["sleep", draw.uniform(0, bench.seconds * (0.3 if early else 0.8))], KILL], slow=True)
            bench.assert_whole(run)
        bench.assert_recovers(run, f"run {index}")


@pytest.mark.parametrize("mode", ["base", "camera-densify", "mcmc"])
def test_killed_in_other_modes(bench: Bench, tmp_path: Path, mode: str):
    """Every kind of parameter and state: SH degree alone, camera poses and exposures, relocation and noise."""
    settings = ["--mode", mode, "-i", "40", "--sh_degree", "1", "--checkpoint_interval", "6", "--quiet"]

    def train(run: Path, plan: list[Any] | None = None) -> int:
        return bench.zygote.trial(
            "command", "-s", str(bench.scene), "-d", str(run), *settings, plan=plan, log=tmp_path / "log"
        )

    assert train(tmp_path / "undisturbed") == 0, (tmp_path / "log").read_text()
    assert train(tmp_path / "killed", aimed(4, 0.002)) == -signal.SIGKILL
    assert train(tmp_path / "killed") == 0, (tmp_path / "log").read_text()
    assert "going on after step " in (tmp_path / "log").read_text()
    assert results(tmp_path / "killed") == results(tmp_path / "undisturbed")


# E8


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_saves_at_the_next_step_and_ends_the_run(bench: Bench, tmp_path: Path, number: int, status: int):
    run = tmp_path / "run"
    assert bench.train(run, [["hear", "e", 4], ["sleep", 0.01], ["signal", number]]) == status
    steps = sorted(int(path.stem[5:]) for path in (run / "checkpoints").glob("step_*.safetensors"))
    assert f"{signal.Signals(number).name}: this step is finished and saved first; once more ends at once" in bench.log
    assert f"stopped at step {steps[-1]}; run the same command again to go on" in bench.log
    assert 21 <= steps[-1] < 60
    assert not (run / "run.lock").exists()
    bench.assert_whole(run)
    bench.assert_recovers(run, "after a signal")
    assert f"going on after step {steps[-1]} of 60" in bench.log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_ends_the_run_at_once(bench: Bench, tmp_path: Path, number: int):
    run = tmp_path / "run"
    plan = [["hear", "s", 4], ["signal", number], ["sleep", 0.01], ["signal", number]]
    assert bench.train(run, plan, slow=True) == 128 + number
    assert not (run / "checkpoints" / "step_000021.safetensors").exists()
    bench.assert_whole(run)
    bench.assert_recovers(run, "after two signals")


def test_a_closed_terminal_is_a_signal_and_streams_that_fail(bench: Bench, tmp_path: Path):
    run = tmp_path / "run"
    assert bench.train(run, [["hear", "e", 4], ["signal", signal.SIGHUP]], streams="no reader") == 129
    bench.assert_whole(run)
    bench.assert_recovers(run, "after its terminal was closed")


def test_a_run_under_nohup_outlives_its_terminal(bench: Bench, tmp_path: Path):
    run = tmp_path / "run"
    plan = [["hear", "e", 2], ["signal", signal.SIGHUP], ["sleep", 0.02], ["signal", signal.SIGHUP]]
    assert bench.train(run, plan, ignored=[signal.SIGHUP]) == 0
    assert results(run) == bench.expected


def test_a_signal_before_the_first_step_ends_the_command(bench: Bench, tmp_path: Path):
    run = tmp_path / "run"
    assert bench.train(run, [["sleep", 0.02], ["signal", signal.SIGTERM]]) in (-signal.SIGTERM, 143)
    bench.assert_recovers(run, "after an early signal")
