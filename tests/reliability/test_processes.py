"""Training in several processes: one result to the byte, one voice, one end; on the processor, by gloo."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_run import make_scene, splat
from toy import results
from zygote import Zygote

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and signals")

STEPS = 24
SETTINGS = [
    "--sh_degree", "1", "--checkpoint_interval", "5", "--save_iterations", "12", "--eval", "--quiet",
    "--backend", "cpu", "--threads", "1",
]  # fmt: skip
DENSIFY = [
    "--mode", "densify", "--densify_interval", "6", "--densify_from_iter", "3", "--prune_interval", "6",
    "--prune_from_iter", "7", "--densify_target_lower_bound", "200",
]  # fmt: skip


class Bench:
    """A scene, and the commands that train it."""

    def __init__(self, zygote: Zygote, folder: Path) -> None:
        self.zygote, self.folder, self.log = zygote, folder, ""
        self.scene = make_scene(folder / "scene", splat(), 9)

    def train(
        self, run: str, *flags: str, target: str = "pair", steps: int = STEPS, plan: list[Any] | None = None
    ) -> int:
        log = self.folder / "log"
        log.unlink(missing_ok=True)
        flags = ("-s", str(self.scene), "-d", str(self.folder / run), *SETTINGS, *flags, "-i", str(steps))
        status = self.zygote.trial(target, *flags, plan=plan, log=log)
        self.log = log.read_text()
        return status

    def results(self, run: str) -> dict[str, str]:
        return results(self.folder / run)


@pytest.fixture(scope="module")
def bench(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    found = Bench(zygote, tmp_path_factory.mktemp("bench"))
    assert found.train("undisturbed", *DENSIFY) == 0, found.log
    return found


def test_two_processes_speak_with_one_voice(bench: Bench):
    bench.train("voice", *DENSIFY)
    assert bench.log.count("2 processes: 2 views in a step, rates times 1.41, betas to the power 2") == 1
    assert bench.log.count(f"completed {STEPS} steps") == 1
    assert bench.results("voice") == bench.results("undisturbed")


def test_a_signal_saves_and_ends_all_and_the_run_goes_on_to_the_same_bytes(bench: Bench):
    plan = [["hear", "e", 3], ["signal", signal.SIGTERM]]
    assert bench.train("stopped", *DENSIFY, plan=plan) == 128 + signal.SIGTERM, bench.log
    assert bench.log.count("run the same command again to go on") == 1
    assert bench.train("stopped", *DENSIFY) == 0, bench.log
    assert bench.results("stopped") == bench.results("undisturbed")


def test_torchrun_starts_the_same_run(bench: Bench):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [
        *torchrun,
        "-m",
        "gaussian_splatting.train",
        "-s",
        str(bench.scene),
        "-d",
        str(bench.folder / "torchrun"),
    ]
    root = str(Path(__file__).resolve().parents[2])
    ended = subprocess.run(
        [*command, *SETTINGS, *DENSIFY, "-i", str(STEPS)], cwd=root, capture_output=True, text=True, timeout=120,
        env=os.environ | {"PYTHONPATH": root, "MKL_CBWR": "AUTO,STRICT", "NUMBA_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert bench.results("torchrun") == bench.results("undisturbed")


@pytest.mark.parametrize(("first", "second", "change"), [("pair", "command", "2 -> 1"), ("command", "pair", "1 -> 2")])
def test_a_run_goes_on_with_another_number_of_processes(bench: Bench, first: str, second: str, change: str):
    assert bench.train(f"from {first}", *DENSIFY, target=first, steps=8) == 0, bench.log
    assert bench.train(f"from {first}", *DENSIFY, target=second, steps=12) == 0, bench.log
    assert f"processes {change} since the checkpoint was written" in bench.log
    assert "going on after step 8 of 12" in bench.log
    steps = [
        json.loads(line)["step"] for line in (bench.folder / f"from {first}/metrics.jsonl").read_text().splitlines()
    ]
    assert steps == [8, 10, 12]


def errors(log: str) -> list[str]:
    return [line for line in log.splitlines() if line.startswith("error:")]


def test_the_failure_of_one_ends_all_with_one_error(bench: Bench):
    assert bench.train("failed", "--trainer", "odd_trainers:SecondFails") == 2, bench.log
    (error,) = errors(bench.log)
    assert re.search(
        r"^error: process 1 of 2: step 9: the second process has had enough\. +The last finished step is saved in "
        r".*step_000008\.safetensors\.$",
        error,
    )
    assert "Traceback" not in bench.log


def test_a_process_that_is_gone_ends_the_others(bench: Bench):
    assert bench.train("died", "--trainer", "odd_trainers:SecondDies") == 2, bench.log
    (error,) = errors(bench.log)
    assert "process 0 has lost the connection to another process, which has ended" in error
    assert "step_000008.safetensors" in error


def test_a_scene_that_is_not_there_is_said_once(bench: Bench):
    scene, bench.scene = bench.scene, bench.folder / "nowhere"
    try:
        assert bench.train("nothing") == 2
    finally:
        bench.scene = scene
    assert len(errors(bench.log)) == 1
    assert "nowhere" in errors(bench.log)[0]
    assert bench.train("nothing", "--no_such_flag") == 2
    assert len([line for line in bench.log.splitlines() if "no_such_flag" in line]) == 1


def test_one_card_for_two_processes_is_refused(monkeypatch):
    from gaussian_splatting.errors import BackendError
    from gaussian_splatting.runs.processes import own_device

    for name, value in {"RANK": 1, "WORLD_SIZE": 2, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "x"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("MASTER_PORT", "1")
    assert own_device("cpu") == "cpu"
    with pytest.raises(BackendError, match="--device cuda:0 is one card for 2 processes; leave the flag out"):
        own_device("cuda:0")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(BackendError, match="started 2 processes on a machine where torch sees 1 cards; .*_per_node 1"):
        own_device("cuda")
