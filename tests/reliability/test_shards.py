"""Training with the Gaussians shared out over two processes: the same files, and one end; on the processor, by gloo."""

from __future__ import annotations

import signal
import sys

import pytest
from test_processes import DENSIFY, STEPS, Bench, errors
from toy import results
from zygote import Zygote

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and signals")


@pytest.fixture(scope="module")
def bench(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    found = Bench(zygote, tmp_path_factory.mktemp("bench"))
    assert found.train("whole", *DENSIFY) == 0, found.log
    return found


def files(bench: Bench, run: str) -> dict[str, str]:
    """Digests of splats, figures and pictures."""
    found = results(bench.folder / run, everything=False)
    assert len(found) > 10
    return found


def test_shards_leave_the_files_of_a_run_without(bench: Bench):
    assert bench.train("shards", *DENSIFY, "--shard", "--checkpoint_seconds", "0.01") == 0, bench.log
    assert bench.log.count("the Gaussians are shared out over 2 processes, about 40 to each") == 1
    assert bench.log.count(f"completed {STEPS} steps") == 1
    assert files(bench, "shards") == files(bench, "whole")
    assert bench.train("shards", *DENSIFY, "--shard") == 0, bench.log
    assert f"is complete with {STEPS} steps" in bench.log


def test_a_signal_saves_the_rows_of_all_and_a_run_without_shards_goes_on(bench: Bench):
    plan = [["hear", "e", 3], ["signal", signal.SIGTERM]]
    assert bench.train("stopped", *DENSIFY, "--shard", plan=plan) == 128 + signal.SIGTERM, bench.log
    assert bench.log.count("run the same command again to go on") == 1
    assert bench.train("stopped", *DENSIFY) == 0, bench.log
    assert "sharded true -> false since the checkpoint was written" in bench.log
    assert files(bench, "stopped") == files(bench, "whole")


def test_shards_go_on_from_a_run_without(bench: Bench):
    assert bench.train("begun", *DENSIFY, steps=12) == 0, bench.log
    assert bench.train("begun", *DENSIFY, "--shard") == 0, bench.log
    assert "sharded false -> true since the checkpoint was written" in bench.log
    assert bench.train("twice", *DENSIFY, steps=12) == 0, bench.log
    assert bench.train("twice", *DENSIFY) == 0, bench.log
    assert files(bench, "begun") == files(bench, "twice")


@pytest.mark.parametrize(("first", "second", "change"), [("pair", "command", "2 -> 1"), ("command", "pair", "1 -> 2")])
def test_shards_and_one_process_go_on_from_each_other(bench: Bench, first: str, second: str, change: str):
    flags = ("--shard", "--preset", "fast", "--budget_target", "200")
    assert bench.train(f"from {first}", *flags, target=first, steps=8) == 0, bench.log
    assert bench.train(f"from {first}", *flags, target=second, steps=12) == 0, bench.log
    assert f"processes {change}, sharded" in bench.log
    assert "going on after step 8 of 12" in bench.log


def test_the_failure_of_one_names_the_last_checkpoint_of_all(bench: Bench):
    assert bench.train("failed", "--trainer", "odd_trainers:ShardFails", "--shard") == 2, bench.log
    (error,) = errors(bench.log)
    assert error.startswith("error: process 1 of 2: step 9: the second process has had enough")
    assert error.endswith("step_000005.safetensors.")
    assert "Traceback" not in bench.log


def test_what_does_not_know_of_shards_is_refused(bench: Bench):
    assert bench.train("odd", "--trainer", "odd_trainers:SecondFails", "--shard") == 2
    (error,) = errors(bench.log)
    assert "--shard: SecondFails cannot train with the Gaussians shared out over processes" in error
    assert bench.train("watched", "--viewer", "--shard") == 2
    (error,) = errors(bench.log)
    assert "--viewer shows all Gaussians, and with --shard no process has them" in error
