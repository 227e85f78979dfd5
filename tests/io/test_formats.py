"""Every format against the reference decodes of real files, and against itself."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from splat_samples import (
    angle_error,
    colour_error,
    covariance_error,
    opacity_error,
    paired,
    position_error,
    some_splats,
)

from gaussian_splatting.errors import FormatError, SplatError
from gaussian_splatting.io.formats import FORMATS, format_of, read_splats, write_splats
from gaussian_splatting.io.gaussian_arrays import FIELDS, with_sh_degree
from gaussian_splatting.io.ply import GaussianArrays

# What each format may lose.
KINDS = ("colour", "opacity", "logarithmic scale", "angle", "coefficient")
LOSSES = {
    "a.ply": (0, 0, 0, 1e-6, 0),
    "a.glb": (0, 1e-6, 1e-6, 1e-3, 0),
    "a.compressed.ply": (0.5 / 255 * 2, 0.5 / 255, 6 / 2046, 4.8e-3, 1 / 32),
    "a.spz": (1 / 255 / 0.15 * 0.2821 / 2, 0.5 / 255, 1 / 32, 6e-3, 8.5 / 128),
    "a.splat": (0.5 / 255, 0.5 / 255, 1e-6, 0.025, None),
    "a.sog": (2 / 255, 0.5 / 255, 6 / 255, 0.02, 0.05),
    "folder/meta.json": (2 / 255, 0.5 / 255, 6 / 255, 0.02, 0.05),
}


def losses(expected: GaussianArrays, found: GaussianArrays) -> tuple[float, ...]:
    rest = np.abs(expected.features_rest - found.features_rest).max(initial=0)
    scale = np.abs(expected.scaling - found.scaling).max()
    return (
        colour_error(expected, found), opacity_error(expected, found), float(scale), angle_error(expected, found),
        float(rest),
    )  # fmt: skip


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("name", LOSSES)
def test_what_is_written_comes_back_within_its_quantisation(tmp_path: Path, name: str, degree: int) -> None:
    gaussians = some_splats(1024, degree)
    written = write_splats(tmp_path / name, gaussians)
    found = paired(gaussians, read_splats(tmp_path / name).gaussians)
    assert position_error(gaussians, found) < 1e-3
    expected = with_sh_degree(gaussians, min(degree, written.sh_degree))
    assert found.sh_degree == expected.sh_degree
    for kind, error, allowed in zip(KINDS, losses(expected, found), LOSSES[name], strict=True):
        if allowed is not None:
            assert error <= allowed + 1e-6, kind


@pytest.mark.parametrize("number", [1, 2, 3, 255, 256, 257])
@pytest.mark.parametrize("name", LOSSES)
def test_any_number_of_gaussians_can_be_written(tmp_path: Path, name: str, number: int) -> None:
    gaussians = some_splats(number, 1, seed=number)
    write_splats(tmp_path / name, gaussians)
    found = read_splats(tmp_path / name).gaussians
    assert position_error(gaussians, paired(gaussians, found)) < 1e-3 if number > 1 else len(found) == 1


@pytest.mark.parametrize("name", LOSSES)
def test_the_same_gaussians_give_the_same_bytes(tmp_path: Path, name: str) -> None:
    gaussians = some_splats(300, 2)
    for folder in ("first", "second"):
        write_splats(tmp_path / folder / name, gaussians)
    files = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*") if path.is_file())
    assert files
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


@pytest.mark.parametrize("name", LOSSES)
def test_what_cannot_be_rendered_is_never_written(tmp_path: Path, name: str) -> None:
    for field in FIELDS[:1] + FIELDS[3:]:
        gaussians = some_splats(5, 0)
        getattr(gaussians, field)[3, 0] = np.nan
        with pytest.raises(SplatError, match=r"not written: .* of Gaussian 3 is n"):
            write_splats(tmp_path / name, gaussians)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "a.ply"])
def test_nothing_to_write_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SplatError, match="there are no Gaussians"):
        write_splats(tmp_path / name, some_splats(0, 0))


@pytest.mark.parametrize("name", LOSSES)
def test_extreme_gaussians_survive(tmp_path: Path, name: str) -> None:
    gaussians = some_splats(40, 1)
    gaussians.scaling[:, 0] = np.linspace(-80, 80, 40)
    gaussians.opacity[:, 0] = np.linspace(-1e30, 1e30, 40)
    gaussians.features_dc[:] = np.linspace(-1e4, 1e4, 40)[:, None, None]
    gaussians.rotation[::2] *= 1e18
    gaussians.rotation[1::2] *= 1e-18
    write_splats(tmp_path / name, gaussians)
    found = read_splats(tmp_path / name).gaussians
    assert len(found) == 40
    assert all(np.isfinite(getattr(found, field)).all() for field in FIELDS)


@pytest.mark.parametrize("name", LOSSES)
def test_gaussians_that_are_all_alike_survive(tmp_path: Path, name: str) -> None:
    gaussians = some_splats(1, 3).select(np.zeros(300, int))
    write_splats(tmp_path / name, gaussians)
    found = read_splats(tmp_path / name).gaussians
    assert len(found) == 300
    np.testing.assert_allclose(found.xyz, gaussians.xyz, atol=1e-3)
    assert covariance_error(gaussians, found) < 0.15


# Real files

FOUND = {
    "biker.compressed.ply": (152746, 0, "compressed PLY"),
    "biker.sog": (152746, 0, "SOG 2"),
    "biker_v3.spz": (152746, 0, "SPZ 3"),
    "biker_v4.spz": (152746, 0, "SPZ 4"),
    "minimal-raw.spz": (4, 0, "SPZ 2"),
    "minimal-v2.spz": (4, 0, "SPZ 2"),
    "minimal-v3.spz": (4, 0, "SPZ 3"),
    "minimal-v4.spz": (4, 0, "SPZ 4"),
    "minimal.ksplat": (4, 0, "KSPLAT 0"),
    "minimal.splat": (4, 0, "splat"),
    "playbot_lod4.ply": (8406, 2, "PLY"),
    "playbot_lod4_l1_sh1.ksplat": (8406, 1, "KSPLAT 1"),
    "playbot_lod4_sog/meta.json": (8406, 2, "SOG 2"),
    "train-1000.ply": (1000, 3, "PLY"),
}


def read_real(shared_data: Path, name: str) -> GaussianArrays:
    if name.endswith("v4.spz"):
        pytest.importorskip("zstandard", reason="SPZ version 4 needs zstandard")
    return read_splats(shared_data / "splats" / name).gaussians


@pytest.mark.parametrize("name", FOUND)
def test_every_real_file_loads(shared_data: Path, name: str) -> None:
    if name.endswith("v4.spz"):
        pytest.importorskip("zstandard", reason="SPZ version 4 needs zstandard")
    found = read_splats(shared_data / "splats" / name, strict=True)
    assert (len(found), found.gaussians.sh_degree, found.format) == FOUND[name]


def test_a_real_sog_decodes_as_its_reference(shared_data: Path) -> None:
    found, expected = read_real(shared_data, "playbot_lod4_sog/meta.json"), read_real(shared_data, "playbot_lod4.ply")
    assert position_error(expected, found) < 1e-6
    assert colour_error(expected, found) < 1e-6
    assert opacity_error(expected, found) < 1e-6
    assert covariance_error(expected, found) < 1e-4
    np.testing.assert_allclose(found.features_rest, expected.features_rest, atol=1e-6)


@pytest.mark.parametrize("name", ["biker_v3.spz", "biker_v4.spz", "biker.sog"])
def test_the_same_model_has_every_gaussian_where_the_reference_has_it(shared_data: Path, name: str) -> None:
    from scipy.spatial import cKDTree

    expected, found = read_real(shared_data, "biker.compressed.ply"), read_real(shared_data, name)
    size = np.ptp(expected.xyz, axis=0).max()
    # Neighbours can lie closer together than positions are exact: one of them must have the colour too.
    distances, candidates = cKDTree(expected.xyz).query(found.xyz, k=8)
    assert distances[:, 0].max() <= 1e-3 * size
    colour = np.clip(expected.features_dc[:, 0] * 0.28209 + 0.5, 0, 1)[candidates]  # [N, 8, 3]
    wrong = np.abs(colour - np.clip(found.features_dc * 0.28209 + 0.5, 0, 1)).max(axis=2)
    wrong[distances > 1e-3 * size] = np.inf
    assert (wrong.min(axis=1) > 2 / 255).mean() < (1e-3 if name == "biker.sog" else 1e-9)


def test_the_compressions_of_one_model_agree(shared_data: Path) -> None:
    expected = read_real(shared_data, "playbot_lod4.ply")
    found = paired(expected, read_real(shared_data, "playbot_lod4_l1_sh1.ksplat"))
    assert position_error(expected, found) < 1e-3
    assert colour_error(expected, found) <= 2 / 255
    assert opacity_error(expected, found) <= 2 / 255
    assert covariance_error(expected, found) < 0.01
    np.testing.assert_allclose(found.features_rest, expected.features_rest[:, :3], atol=2e-3)


def test_the_minimal_files_show_the_same_square(shared_data: Path) -> None:
    corners = {(-1.0, 0.0, -1.0), (0.0, 0.0, -1.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 0.0)}
    for name in ("minimal.splat", "minimal.ksplat", "minimal-v3.spz", "minimal-v4.spz"):
        found = read_real(shared_data, name)
        assert {tuple(float(part) + 0.0 for part in row) for row in found.xyz} == corners, name
        np.testing.assert_allclose(found.features_dc[0, 0], (-0.5908, -0.5908, 0.007), atol=0.01)


@pytest.mark.parametrize("name", LOSSES)
def test_real_models_survive_every_format(shared_data: Path, tmp_path: Path, name: str) -> None:
    expected = read_real(shared_data, "playbot_lod4.ply")
    write_splats(tmp_path / name, expected)
    found = paired(expected, read_splats(tmp_path / name).gaussians)
    assert position_error(expected, found) < 1e-3
    if name != "a.spz":  # two steps of SPZ's colour are 2/255 and a little
        assert colour_error(expected, found) <= 8 / 255 if "sog" in name or "meta" in name else 2 / 255


# Names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.PLY", "PLY"), ("a.b.compressed.ply", "compressed PLY"), ("x/meta.json", "SOG folder"), ("a.SOG", "SOG"),
        ("a.ksplat", "KSPLAT"), ("a.splat", "splat"), ("a.spz", "SPZ"), ("a.glb", "glTF"),
        ("step_000100.safetensors", "checkpoint"),
    ],
)  # fmt: skip
def test_a_name_tells_the_format(name: str, expected: str) -> None:
    assert format_of(name).name == expected


def test_other_names_are_refused_with_those_that_are_known() -> None:
    with pytest.raises(SplatError, match=r"a\.obj: the name is of no splat format.*\.spz"):
        read_splats("a.obj")


@pytest.mark.parametrize("name", ["a.ksplat", "step_000100.safetensors"])
def test_formats_that_are_only_read_say_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(SplatError, match="is only read; write one of"):
        write_splats(tmp_path / name, some_splats(1, 0))


def test_endings_do_not_hide_each_other() -> None:
    for index, entry in enumerate(FORMATS):
        assert not any(entry.ending.endswith(earlier.ending) for earlier in FORMATS[:index])


@pytest.mark.parametrize("name", [name for name in LOSSES if format_of(name).sh_degree == 3])
def test_a_degree_that_does_not_fit_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SplatError, match="SH up to degree 3; export with --sh_degree 3"):
        write_splats(tmp_path / name, some_splats(4, 4))


@pytest.mark.parametrize("name", ["a.spz", "a.sog", "folder/meta.json"])
@pytest.mark.parametrize("antialiased", [True, False])
def test_the_antialiasing_flag_comes_back(tmp_path: Path, name: str, antialiased: bool) -> None:
    assert format_of(name).says_antialiased
    write_splats(tmp_path / name, some_splats(4, 0), antialiased=antialiased)
    assert read_splats(tmp_path / name).antialiased is antialiased


def test_a_checkpoint_of_a_run_is_read(tmp_path: Path) -> None:
    from gaussian_splatting.io.checkpoint import write_checkpoint
    from gaussian_splatting.trainer import BaseTrainer
    from gaussian_splatting.trainer.snapshot import capture
    from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model

    model = tiny_model()
    tensors = capture(BaseTrainer(model, TinyDataset()))
    model.save_ply(tmp_path / "same.ply")
    gaussians = read_splats(tmp_path / "same.ply").gaussians
    write_checkpoint(tmp_path / "step_000010.safetensors", tensors, {"settings": {"antialiased": True}})
    file = read_splats(tmp_path / "step_000010.safetensors")
    assert file.antialiased
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(file.gaussians, name), getattr(gaussians, name))
    del tensors["parameter.scaling"]
    write_checkpoint(tmp_path / "step_000020.safetensors", tensors, {})
    with pytest.raises(FormatError, match=r"parameter\.scaling is missing"):
        read_splats(tmp_path / "step_000020.safetensors")


@pytest.mark.parametrize("name", LOSSES)
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        read_splats(tmp_path / name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in LOSSES if name != "folder/meta.json"])
def test_compact_formats_are_read_and_written_fast(tmp_path: Path, name: str) -> None:
    gaussians = some_splats(400_000, 0)
    started = time.process_time()
    write_splats(tmp_path / name, gaussians)
    written = time.process_time()
    read_splats(tmp_path / name)
    done = time.process_time()
    assert 400_000 / (written - started) > 200_000 / (2 if "sog" in name else 1)
    assert 400_000 / (done - written) > 200_000
