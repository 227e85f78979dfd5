"""Bitwise the same for any number of threads, and kernels that fail or are forked behave."""

from __future__ import annotations

import hashlib
import os
import threading

import cpu_scenes
import numpy as np
import pytest
import torch

from gaussian_splatting.rasterizer import cpu
from gaussian_splatting.rasterizer.cpu import threads


@pytest.fixture(autouse=True)
def restore_threads():
    yield
    threads._state["num_threads"] = None


def digest_of_a_step(num: int) -> str:
    """All images, the loss and all gradients of a step with enough Gaussians for several chunks of every stage."""
    parameters, view = cpu_scenes.raw(cpu_scenes.scene(num=num, seed=1), 3)
    parameters.log_scales.sub_(1.5)
    named = cpu_scenes.raw_leaves(parameters, view, torch.float32)
    out = cpu_scenes.raw_call(cpu, named, view)
    target = torch.rand(3, *out.alphas.shape, generator=cpu_scenes.generator(0))
    loss = cpu.fused_photometric(out.colors.permute(2, 0, 1), target, 0.2)[0]
    (loss + out.depth.mean() + out.inverse_depth.mean()).backward()
    results = [out.colors, out.alphas, out.depth, out.inverse_depth, out.means2d, loss, out.means2d.grad]
    results += [leaf.grad for leaf in named.values()]
    digest = hashlib.sha256()
    for tensor in results:
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    digests = set()
    for num_threads in (1, 2, 3, 4, 8, 1):
        cpu.set_num_threads(num_threads)
        digests.add(digest_of_a_step(40_000))
    assert len(digests) == 1


def test_adam_does_not_depend_on_the_number_of_threads() -> None:
    results = []
    for num_threads in (1, 3):
        cpu.set_num_threads(num_threads)
        arrays = [np.random.default_rng(seed).random(300_001, np.float32) for seed in range(4)]
        cpu.adam_step(*arrays, 0.1, 0.9, 0.999, 1e-15, 0.1, 0.001)
        results.append(np.concatenate([arrays[0], arrays[2], arrays[3]]))
    assert (results[0] == results[1]).all()


def test_the_number_of_threads_is_checked() -> None:
    assert cpu.get_num_threads() == threads.num_cores()
    cpu.set_num_threads(3)
    assert cpu.get_num_threads() == 3
    with pytest.raises(ValueError, match="num_threads is 0"):
        cpu.set_num_threads(0)


class Kernel:
    """Stands in for a compiled kernel."""

    signatures = ("compiled",)

    def __init__(self, work) -> None:
        self.work = work

    def __call__(self, number: int, counter: np.ndarray, *arguments) -> None:
        self.work(number, counter, *arguments)


def test_each_unit_is_worked_on_once() -> None:
    lock, seen = threading.Lock(), []

    def work(number: int, counter: np.ndarray, num_units: int) -> None:
        while True:
            with lock:
                unit = int(counter[0])
                counter[0] += 1
            if unit >= num_units:
                return
            seen.append(unit)

    cpu.set_num_threads(4)
    for _ in range(50):
        seen.clear()
        threads.run(Kernel(work), 20, 20)
        assert sorted(seen) == list(range(20))


def test_an_error_in_any_worker_reaches_the_caller() -> None:
    def work(number: int, counter: np.ndarray) -> None:
        if number > 0:
            raise MemoryError("worker")
        event.wait(5)

    cpu.set_num_threads(2)
    event = threading.Event()
    timer = threading.Timer(0.2, event.set)
    timer.start()
    with pytest.raises(MemoryError, match="worker"):
        threads.run(Kernel(work), 2)
    timer.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_kernels_work_after_a_fork() -> None:
    def sums() -> float:  # without torch, whose own threads do not survive a fork
        arrays = [np.random.default_rng(seed).random(300_001, np.float32) for seed in range(4)]
        cpu.adam_step(*arrays, 0.1, 0.9, 0.999, 1e-15, 0.1, 0.001)
        return float(arrays[0].sum(dtype=np.float64))

    cpu.set_num_threads(2)
    sums()
    expected = sums()
    process = os.fork()
    if process == 0:
        os._exit(0 if sums() == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
