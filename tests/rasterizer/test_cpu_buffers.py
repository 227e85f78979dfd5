"""Buffers are used again, and nobody can tell: whatever is still referred to keeps its values."""

from __future__ import annotations

import gc
import threading

import cpu_scenes
import numpy as np
import pytest
import torch

from gaussian_splatting.rasterizer import cpu
from gaussian_splatting.rasterizer.cpu.workspace import Workspace, workspace


def setup(seed: int = 0):
    parameters, view = cpu_scenes.raw(cpu_scenes.scene(seed=seed), 3)
    return cpu_scenes.raw_leaves(parameters, view, torch.float32), view


def render(named: dict[str, torch.Tensor], view):
    return cpu_scenes.raw_call(cpu, named, view)


def loss_of(out) -> torch.Tensor:
    return out.colors.square().sum() + out.depth.sum() + out.inverse_depth.sum()


def gradients(named: dict[str, torch.Tensor], view, seed: int = 0) -> dict[str, torch.Tensor]:
    """The gradients of one pass, copied, and the leaves without them."""
    loss_of(render(named, view)).backward()
    copies = {name: leaf.grad.clone() for name, leaf in named.items()}
    for leaf in named.values():
        leaf.grad = None
    return copies


def test_a_free_buffer_is_used_again_and_one_in_use_is_not() -> None:
    pool = Workspace()
    first = pool.take("records", 100)
    address = first.ctypes.data
    second = pool.take("records", 100)
    assert second.ctypes.data != address
    tensor = torch.from_numpy(first)[10:20]
    del first
    assert pool.take("records", 100).ctypes.data != address
    del tensor
    assert address in {array.ctypes.data for array in [pool.take("records", 100) for _ in range(3)]}
    assert address % 64 == 0


def test_the_pool_keeps_few_spares_and_releases_them() -> None:
    pool = Workspace()
    held = [pool.take("a", 1000) for _ in range(10)]
    assert pool.num_bytes() > 10 * 4000
    held.clear()
    kept = pool.take("a", 1000)
    assert pool.num_bytes() < 5 * 4000
    pool.release()
    assert 4000 <= pool.num_bytes() < 2 * 4000
    del kept
    pool.release()
    assert pool.num_bytes() == 0


def test_a_growing_scene_does_not_need_a_new_buffer_at_every_step() -> None:
    pool = Workspace()
    addresses = {pool.take("a", size).ctypes.data for size in range(10_000, 11_000, 10)}
    assert len(addresses) == 1


def test_gradients_reach_the_leaf_without_a_copy_and_their_memory_is_used_again() -> None:
    named, view = setup()
    cpu.release_workspace()  # buffers that other tests left would be tried first
    addresses = set()
    for _ in range(4):
        loss_of(render(named, view)).backward()
        addresses.add(named["features_rest"].grad.data_ptr())
        for leaf in named.values():
            leaf.grad = None
    assert len(addresses) == 1


def test_memory_does_not_grow_over_steps() -> None:
    from gaussian_splatting.rasterizer.cpu.workspace import workspace

    named, view = setup()
    sizes = []
    for _ in range(6):
        gradients(named, view)
        sizes.append(workspace.num_bytes())
    assert sizes[2] == sizes[-1]


def test_two_backward_passes_add_up() -> None:
    named, view = setup()
    single = gradients(named, view)
    for _ in range(2):
        loss_of(render(named, view)).backward()
    for name, leaf in named.items():
        torch.testing.assert_close(leaf.grad, 2 * single[name], rtol=1e-6, atol=0)


def test_a_retained_graph_gives_the_same_gradients_twice() -> None:
    named, view = setup()
    single = gradients(named, view)
    out = render(named, view)
    loss = loss_of(out)
    loss.backward(retain_graph=True)
    screen = out.means2d.grad.clone()
    render(setup(1)[0], view)
    loss.backward()
    for name, leaf in named.items():
        torch.testing.assert_close(leaf.grad, 2 * single[name], rtol=1e-6, atol=0)
    torch.testing.assert_close(out.means2d.grad, 2 * screen, rtol=1e-6, atol=0)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_several_views_rendered_before_one_backward_pass() -> None:
    scenes = [setup(seed) for seed in range(4)]
    alone = [gradients(*scene) for scene in scenes]
    outs = [render(*scene) for scene in scenes]
    torch.stack([loss_of(out) for out in outs]).sum().backward()
    for (named, _), expected in zip(scenes, alone, strict=True):
        for name, leaf in named.items():
            assert torch.equal(leaf.grad, expected[name]), name


def test_images_that_are_kept_keep_their_values() -> None:
    named, view = setup()
    with torch.no_grad():
        kept = [render(setup(seed)[0], view) for seed in range(4)]
    copies = [(out.colors.clone(), out.radii.clone(), out.means2d.clone()) for out in kept]
    for _ in range(3):
        gradients(named, view)
    for out, (colors, radii, means2d) in zip(kept, copies, strict=True):
        assert torch.equal(out.colors, colors)
        assert torch.equal(out.radii, radii)
        assert torch.equal(out.means2d, means2d)


def test_a_picture_without_gradients_between_forward_and_backward_does_no_harm() -> None:
    named, view = setup()
    expected = gradients(named, view)
    out = render(named, view)
    with torch.no_grad():
        for seed in range(3):
            render(setup(seed)[0], view)
    loss_of(out).backward()
    assert all(torch.equal(leaf.grad, expected[name]) for name, leaf in named.items())


def test_a_picture_without_gradients_is_the_same_and_takes_no_buffers_for_them() -> None:
    named, view = setup()
    expected = render(named, view)
    kept = [value.detach().clone() for value in (expected.colors, expected.alphas, expected.depth, expected.radii)]
    del expected
    workspace.release()
    before = {name for (name, _), buffers in workspace._buffers.items() if buffers}
    with torch.no_grad():
        out = render(named, view)
    found = (out.colors, out.alphas, out.depth, out.radii)
    assert all(torch.equal(one, other) for one, other in zip(found, kept, strict=True))
    taken = {name for (name, _), buffers in workspace._buffers.items() if buffers} - before
    assert {"records", "slots"} <= taken
    assert not taken & {"targets", "blocks", "gradient_records", "contributes", "means2d_gradient"}


def test_parameters_changed_between_forward_and_backward_are_noticed() -> None:
    named, view = setup()
    loss = loss_of(render(named, view))
    with torch.no_grad():
        named["means"].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_only_what_asks_for_a_gradient_gets_one() -> None:
    named, view = setup()
    everything = gradients(named, view)
    for name, leaf in named.items():
        leaf.requires_grad_(name in {"log_scales", "viewmat"})
    out = render(named, view)
    loss_of(out).backward()
    assert {name for name, leaf in named.items() if leaf.grad is not None} == {"log_scales", "viewmat"}
    assert torch.equal(named["log_scales"].grad, everything["log_scales"])
    for leaf in named.values():
        leaf.requires_grad_(False)
    assert not render(named, view).means2d.requires_grad


def test_a_viewer_may_render_while_training_goes_on() -> None:
    named, view = setup()
    expected = gradients(named, view)
    with torch.no_grad():
        picture = render(setup(1)[0], view).colors.clone()
    failures: list[str] = []
    stop = threading.Event()

    def watch() -> None:
        scene = setup(1)[0]
        with torch.no_grad():
            while not stop.is_set():
                if not torch.equal(render(scene, view).colors, picture):
                    failures.append("the picture changed")

    viewers = [threading.Thread(target=watch) for _ in range(2)]
    for viewer in viewers:
        viewer.start()
    for _ in range(30):
        own = gradients(named, view)
        if any(not torch.equal(own[name], expected[name]) for name in own):
            failures.append("a gradient changed")
    stop.set()
    for viewer in viewers:
        viewer.join()
    assert not failures


def test_nothing_refers_to_buffers_after_the_graph_is_gone() -> None:
    from gaussian_splatting.rasterizer.cpu.workspace import workspace

    named, view = setup()
    out = render(named, view)
    loss_of(out).backward()
    del out
    for leaf in named.values():
        leaf.grad = None
    gc.collect()
    workspace.release()
    assert workspace.num_bytes() == 0


def test_adam_works_on_gradients_as_they_are() -> None:
    named, view = setup()
    loss_of(render(named, view)).backward()
    leaf = named["means"]
    before = leaf.detach().clone()
    moments = [np.zeros(leaf.numel(), np.float32) for _ in range(2)]
    cpu.adam_step(
        leaf.detach().view(-1).numpy(), leaf.grad.view(-1).numpy(), *moments, 0.1, 0.9, 0.999, 1e-15, 0.1, 0.001
    )
    moved = (leaf.detach() - before)[leaf.grad.abs() > 1e-6]
    torch.testing.assert_close(moved.abs(), torch.full_like(moved, 0.1), rtol=1e-4, atol=1e-6)
