"""What programs written against gsplat rely on beyond pictures: the graph behind `meta`, sparse gradients, sameness."""

from __future__ import annotations

import hashlib

import cpu_scenes
import pytest
import torch
from backend_distance import relative
from cpu_scenes import DOUBLE, HEIGHT, WIDTH

from gaussian_splatting.rasterizer import cpu
from gaussian_splatting.rasterizer.cpu import threads

pytest.importorskip("gsplat")
import gsplat_reference

GEOMETRY = ("means", "quats", "scales", "opacities", "viewmats")


def leaves(seed: int = 3, num: int = 60, **options) -> dict[str, torch.Tensor]:
    return cpu_scenes.leaves(cpu_scenes.scene(num=num, seed=seed, **options), torch.float32)


def render(values: dict[str, torch.Tensor], **options):
    return cpu.rasterization(**values, width=WIDTH, height=HEIGHT, **({"sh_degree": 3} | options))


@pytest.mark.parametrize("camera_model", ["pinhole", "fisheye"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_loss_on_meta_reaches_the_gaussians_and_the_camera(packed: bool, camera_model: str) -> None:
    """As in gsplat; with a pinhole the picture's own gradient takes another way, and both must add up."""
    values = cpu_scenes.scene(num=60, seed=5)
    found, expected = cpu_scenes.leaves(values, torch.float32), cpu_scenes.leaves(values, DOUBLE)
    picture, _, meta = render(found, packed=packed, camera_model=camera_model)
    theirs = gsplat_reference.rasterization(
        **expected, width=WIDTH, height=HEIGHT, sh_degree=3, camera_model=camera_model
    )
    seen = (theirs.meta["radii"] > 0).all(-1)

    def loss(shown: torch.Tensor, values: dict[str, torch.Tensor], rows) -> torch.Tensor:
        total = (shown * ~theirs.edges[..., None]).square().sum()
        names = ("means2d", "conics", "depths", "opacities")
        return total + sum((values[name][rows].sin() * (1 + index)).sum() for index, name in enumerate(names))

    loss(picture, meta, slice(None) if packed else seen).backward()
    loss(theirs.picture, theirs.meta, seen).backward()
    for name in GEOMETRY:
        assert relative(found[name].grad, expected[name].grad) <= 1e-4, name


def test_a_hook_on_the_positions_changes_what_goes_further_back() -> None:
    plain, doubled = leaves(), leaves()
    render(plain)[0].square().sum().backward()
    picture, _, meta = render(doubled)
    meta["means2d"].register_hook(lambda gradient: 0 * gradient)
    picture.square().sum().backward()
    assert relative(doubled["opacities"].grad, plain["opacities"].grad) == 0
    assert relative(doubled["means"].grad, plain["means"].grad) > 0.1


@pytest.mark.parametrize("camera_model", ["pinhole", "ortho"])
def test_sparse_gradients_are_the_dense_ones_and_sparse_adam_takes_them(camera_model: str) -> None:
    options = {"camera_model": camera_model, "near_plane": 2.5, "sh_degree": None}
    dense, sparse = (leaves(degree=None) for _ in range(2))
    for values, sparse_grad in ((dense, False), (sparse, True)):
        picture, _, meta = render(values, sparse_grad=sparse_grad, **options)
        picture.square().sum().backward()
    assert 0 < len(meta["gaussian_ids"]) < len(sparse["means"])
    for name in ("means", "quats", "scales"):
        assert sparse[name].grad.is_sparse
        assert torch.equal(sparse[name].grad.coalesce().indices()[0], meta["gaussian_ids"])
        assert torch.equal(sparse[name].grad.to_dense(), dense[name].grad)
    before = sparse["means"].detach().clone()
    torch.optim.SparseAdam([sparse[name] for name in ("means", "quats", "scales")], lr=0.01).step()
    moved = (sparse["means"] != before).any(-1)
    assert moved.any()
    assert set(moved.nonzero()[:, 0].tolist()) <= set(meta["gaussian_ids"].tolist())


def test_sparse_gradients_go_through_activations_and_add_up_over_cameras() -> None:
    values = leaves(degree=None)
    views = torch.stack([values["viewmats"][0].detach()] * 2)
    options = {"Ks": values["Ks"].repeat(2, 1, 1), "backgrounds": None, "viewmats": views}
    logs = values["scales"].detach().log().requires_grad_()
    picture, *_ = render(values | options | {"scales": logs.exp()}, sparse_grad=True, sh_degree=None)
    picture.square().sum().backward()
    reference = leaves(degree=None)
    dense = render(reference | options, sh_degree=None)[0]
    dense.square().sum().backward()
    assert logs.grad.is_sparse
    assert relative(values["means"].grad.to_dense(), reference["means"].grad) <= 1e-5
    assert relative(logs.grad.to_dense(), reference["scales"].grad * reference["scales"].detach()) <= 1e-5


@pytest.mark.parametrize("packed", [True, False])
def test_tile_lists_are_those_of_gsplat(packed: bool) -> None:
    values = cpu_scenes.scene(num=40, seed=2, degree=None)
    values |= {"viewmats": values["viewmats"].repeat(2, 1, 1), "Ks": values["Ks"] * torch.tensor([[[1.0]], [[1.3]]])}
    values["backgrounds"] = None
    single = {name: None if value is None else value.float() for name, value in values.items()}
    dense = render(single, packed=False, sh_degree=None, tile_size=8)[2]
    per_gauss, ids, flat, offsets = gsplat_reference.tile_lists(dense, 8)
    meta = render(single, packed=packed, sh_degree=None, tile_size=8)[2]
    seen = (dense["radii"] > 0).all(-1)
    assert torch.equal(meta["tiles_per_gauss"], per_gauss[seen] if packed else per_gauss)
    assert torch.equal(meta["isect_ids"], ids)
    assert torch.equal(meta["isect_offsets"], offsets)
    places = seen.flatten().cumsum(0) - 1 if packed else torch.arange(seen.numel())
    assert torch.equal(meta["flatten_ids"].long(), places[flat.long()])


def test_meta_is_a_dictionary_with_all_the_keys_of_gsplat() -> None:
    meta = render(leaves())[2]
    keys = {
        "batch_ids", "camera_ids", "gaussian_ids", "radii", "means2d", "depths", "conics", "opacities", "tile_width",
        "tile_height", "tiles_per_gauss", "isect_ids", "flatten_ids", "isect_offsets", "width", "height", "tile_size",
        "n_batches", "n_cameras",
    }  # fmt: skip
    assert set(meta) == set(meta.keys()) == keys
    for copied in (dict(meta), meta.copy(), {**meta}, dict(meta.items())):
        assert all(copied[name] is not None for name in keys)
    assert all(value is not None for value in render(leaves())[2].values())
    assert render(leaves())[2].get("isect_ids") is not None
    assert render(leaves())[2].pop("flatten_ids") is not None
    assert meta.get("nothing", 7) == 7


@pytest.fixture
def restore_threads():
    yield
    threads._state["num_threads"] = None


def digest(**options) -> str:
    """Pictures, alphas and gradients with enough Gaussians for several chunks of every stage."""
    values = cpu_scenes.scene(num=5000, seed=1, degree=None)
    values["scales"] *= 0.3
    random = cpu_scenes.generator(8)
    values["colors"] = torch.rand(5000, 21, generator=random)
    values["backgrounds"] = torch.rand(1, 21, generator=random)
    own = cpu_scenes.leaves(values, torch.float32)
    picture, alphas, meta = render(own, **({"sh_degree": None, "render_mode": "RGB+ED", "absgrad": True} | options))
    (picture.square().sum() + alphas.sum()).backward()
    seen = slice(None) if options.get("packed", True) else (meta["radii"] > 0).all(-1)
    results = [picture, alphas, meta["means2d"].grad[seen], meta["means2d"].absgrad[seen]]
    results += [leaf.grad for leaf in own.values() if leaf.grad is not None]
    return hashlib.sha256(b"".join(x.detach().contiguous().numpy().tobytes() for x in results)).hexdigest()


@pytest.mark.parametrize("camera_model", ["pinhole", "fisheye"])
def test_bytes_do_not_depend_on_threads_packing_or_chunks(camera_model: str, restore_threads) -> None:
    digests = set()
    for num_threads in (1, 2, 3, 4, 8):
        cpu.set_num_threads(num_threads)
        digests.add(digest(camera_model=camera_model))
    for packed in (True, False):
        for channel_chunk in (1, 5, 32):
            digests.add(digest(camera_model=camera_model, packed=packed, channel_chunk=channel_chunk))
    assert len(digests) == 1


@pytest.mark.parametrize("camera_model", ["pinhole", "ortho", "fisheye"])
@pytest.mark.parametrize(("channels", "packed"), [(3, True), (5, False)])
def test_no_gaussians_give_the_background(channels: int, packed: bool, camera_model: str) -> None:
    values = leaves(num=4, degree=None)
    empty = {name: value[:0].detach() for name, value in values.items() if name in ("means", "quats", "scales")}
    empty |= {"opacities": torch.zeros(0), "colors": torch.zeros(0, channels)}
    empty |= {"viewmats": values["viewmats"].detach(), "Ks": values["Ks"]}
    behind = torch.rand(1, channels)
    options = {"sh_degree": None, "camera_model": camera_model, "packed": packed, "absgrad": True}
    picture, alphas, meta = render(empty, backgrounds=behind, **options)
    assert torch.equal(picture, behind[:, None, None].expand_as(picture))
    assert not alphas.any()
    assert len(meta["isect_ids"]) == 0


def test_nothing_is_kept_when_the_results_are_gone() -> None:
    from gaussian_splatting.rasterizer.cpu.workspace import workspace

    workspace.release()
    before = workspace.num_bytes()
    for model in ("pinhole", "fisheye"):
        values = leaves()
        picture, _, meta = render(values, camera_model=model, absgrad=True)
        picture.sum().backward()
        del picture, meta, values
    workspace.release()
    assert workspace.num_bytes() <= before
