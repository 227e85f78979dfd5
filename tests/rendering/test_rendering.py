"""Rendering as a library: what is measured, what is left alone, what a file holds."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_run import HEIGHT, WIDTH, ring_cameras, splat

from gaussian_splatting.camera import Camera
from gaussian_splatting.dataset.dataset import CameraDataset
from gaussian_splatting.errors import FormatError, SceneError, SplatError
from gaussian_splatting.losses.ssim import ssim
from gaussian_splatting.rendering.depth_points import build_pcd, build_pcd_rescale, matched
from gaussian_splatting.rendering.picture_files import (
    decode_picture,
    depth_picture,
    encode_picture,
    glow,
    thumbnail,
    to_bytes,
)
from gaussian_splatting.rendering.quality import ViewQuality, measure, quality_csv, summary
from gaussian_splatting.rendering.views import rendering, replaced_folder


class Views(CameraDataset):
    """Cameras in memory, all with the same picture."""

    def __init__(self, cameras: list[Camera]) -> None:
        self.cameras = cameras

    def to(self, device):
        return self

    def __len__(self) -> int:
        return len(self.cameras)

    def __getitem__(self, idx: int) -> Camera:
        return self.cameras[idx]


def photographed(count: int = 2, **pictures: torch.Tensor) -> Views:
    photo = torch.rand((3, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(1))
    found = [camera._replace(ground_truth_image=photo.clone(), **pictures) for camera in ring_cameras(count)]
    return Views(found)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/s/images/a.png", "/s/images/b.png"], ["a.png", "b.png"]),
        (["/s/images/cam0/0001.png", "/s/images/cam1/0001.png"], ["cam0/0001.png", "cam1/0001.png"]),
        (["/s/images/0001.png", "/s/images/cam1/0001.png"], ["0001.png", "cam1/0001.png"]),
        (["/s/images/cam0/a.png", None], ["a.png", None]),
        ([None, None], [None, None]),
    ],
)
def test_images_of_several_folders_keep_the_folder_in_their_name(tmp_path, paths, names):
    views = photographed()
    views.cameras = [
        camera._replace(ground_truth_image_path=path) for camera, path in zip(views.cameras, paths, strict=True)
    ]
    assert [view.image for view in rendering(views, splat(), tmp_path / "out")] == names
    kept = json.loads((tmp_path / "out" / "per_view.json").read_text())
    assert [view["image"] for view in kept.values()] == names


def test_pictures_of_the_data_set_are_never_changed(tmp_path):
    mask = torch.zeros(HEIGHT, WIDTH)
    mask[:, 10:] = 1
    views = photographed(ground_truth_image_mask=mask, ground_truth_depth=torch.ones(HEIGHT, WIDTH))
    before = [camera.ground_truth_image.clone() for camera in views]
    rendering(views, splat(), tmp_path / "out", save_pcd=True)
    for camera, image in zip(views, before, strict=True):
        assert torch.equal(camera.ground_truth_image, image)
        assert torch.equal(camera.ground_truth_image_mask, mask)
        assert torch.equal(camera.ground_truth_depth, torch.ones(HEIGHT, WIDTH))


def test_no_gradient_is_kept_and_cameras_can_be_trained_on_afterwards(tmp_path):
    model, views = splat(), photographed(1)
    rendering(views, model, tmp_path / "out")
    assert all(parameter.grad is None for parameter in model.parameters())
    loss = (model(views[0])["render"] - views[0].ground_truth_image).abs().mean()
    loss.backward()
    assert model._xyz.grad is not None


def test_views_of_one_name_do_not_share_a_file(tmp_path):
    cameras = [camera._replace(ground_truth_image_path=path)
               for camera, path in zip(photographed(3), ("a/x.jpg", "b/x.jpg", "A/X.JPG"), strict=True)]  # fmt: skip
    found = rendering(Views(cameras), splat(), tmp_path / "out")
    assert [view.name for view in found] == ["00000", "00001", "00002"]
    assert len({path.read_bytes() for path in (tmp_path / "out" / "renders").glob("?????.png")}) == 3


def test_names_cannot_lead_a_file_out_of_the_folder(tmp_path):
    cameras = [camera._replace(ground_truth_image_path="../../../escape.png") for camera in photographed(1)]
    rendering(Views(cameras), splat(), tmp_path / "a" / "out")
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} >= {"00000.png", "results.json"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_with_results_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "out" / "renders").mkdir(parents=True)
    with pytest.raises(SplatError, match="already holds rendered views"):
        rendering(photographed(1), splat(), tmp_path / "out")
    assert not (tmp_path / "out" / "cameras.json").exists()


# Replacing a folder


def test_a_folder_appears_only_when_it_is_whole(tmp_path):
    with replaced_folder(tmp_path / "ours_1") as partial:
        (partial / "a").write_text("1")
        assert not (tmp_path / "ours_1").exists()
    assert (tmp_path / "ours_1" / "a").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["ours_1"]


def test_an_error_leaves_the_old_folder_as_it_was(tmp_path):
    (tmp_path / "ours_1").mkdir()
    (tmp_path / "ours_1" / "a").write_text("old")
    with pytest.raises(KeyboardInterrupt), replaced_folder(tmp_path / "ours_1", overwrite=True) as partial:
        (partial / "a").write_text("new")
        raise KeyboardInterrupt
    assert (tmp_path / "ours_1" / "a").read_text() == "old"


def test_what_a_killed_run_left_is_not_mixed_in(tmp_path):
    (tmp_path / "ours_1.partial").mkdir()
    (tmp_path / "ours_1.partial" / "stale").write_text("")
    with replaced_folder(tmp_path / "ours_1") as partial:
        (partial / "a").write_text("1")
    assert [path.name for path in (tmp_path / "ours_1").iterdir()] == ["a"]


# Metrics


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (20, 30, 3), np.uint8)


def test_psnr_is_over_all_channels_at_once():
    truth = np.full((20, 30, 3), 100, np.uint8)
    render = truth.copy()
    render[..., 0] += 30
    expected = -10 * math.log10((30 / 255) ** 2 / 3)
    assert measure("x", render, truth).psnr == pytest.approx(expected, abs=1e-4)


def test_masked_pixels_do_not_count():
    truth, mask = noise(), np.ones((20, 30), np.float32)
    mask[:, :15] = 0
    render = truth.copy()
    render[:, :15] = 255 - render[:, :15]
    found = measure("x", render, truth, mask)
    assert (found.psnr, found.masked) == (100.0, True)
    assert found.ssim == pytest.approx(1.0, abs=1e-6)
    assert measure("x", render, truth).psnr < 20


def test_the_psnr_of_valid_pixels_does_not_depend_on_how_many_are_masked():
    truth = np.full((20, 30, 3), 100, np.uint8)
    render, mask = truth + 10, np.ones((20, 30), np.float32)
    mask[:, 5:] = 0
    assert measure("x", render, truth, mask).psnr == pytest.approx(measure("x", render, truth).psnr, abs=1e-4)


def test_ssim_is_that_of_the_loss_and_a_mask_of_ones_changes_nothing():
    first, second = noise(), noise(1) // 2 + noise() // 2
    plain, masked = measure("x", first, second), measure("x", first, second, np.ones((20, 30), np.float32))
    pictures = [torch.from_numpy(picture).permute(2, 0, 1) / 255 for picture in (first, second)]
    assert plain.ssim == pytest.approx(float(ssim(*pictures)), abs=2e-5)
    assert plain.ssim == pytest.approx(masked.ssim, abs=2e-5)


def test_a_view_without_valid_pixels_has_no_metrics_and_does_not_spoil_the_mean():
    empty = measure("a", noise(), noise(1), np.zeros((20, 30), np.float32))
    assert (empty.psnr, empty.ssim) == (None, None)
    found = summary([empty, ViewQuality("b", 20.0, 0.5, None), ViewQuality("c", 30.0, 0.7, None)])
    assert (found["psnr"], found["views"]) == (25.0, 3)
    assert found["ssim"] == pytest.approx(0.6)


def test_pictures_of_different_sizes_are_refused_by_name():
    with pytest.raises(SceneError, match="view 00003: the render is 30x20, the photo 29x20"):
        measure("00003", noise(), noise()[:, :29])


def test_lpips_sees_black_outside_the_mask():
    seen = []
    mask = np.zeros((20, 30), np.float32)
    mask[:10] = 1

    def lpips(first: torch.Tensor, second: torch.Tensor) -> float:
        seen.append((first, second))
        return 0.25

    assert measure("x", noise(), noise(1), mask, lpips).lpips == 0.25
    assert all(float(picture[:, 10:].abs().max()) == 0 for picture in seen[0])


def test_the_table_of_qualities_can_be_read_as_floats():
    text = quality_csv([ViewQuality("00000", 1 / 3, 0.5, None)])
    assert text == "name,psnr,ssim,lpips\n00000,0.3333333333333333,0.5,nan\n"


# Points


def test_points_of_a_flat_wall_lie_on_it_through_pixel_centres():
    camera = ring_cameras(1)[0]
    cloud = build_pcd(torch.rand(3, HEIGHT, WIDTH), torch.full((1, HEIGHT, WIDTH), 0.25), None, camera.K)
    assert torch.allclose(cloud.points[:, 2], torch.tensor(4.0))
    x = cloud.points[:, 0].reshape(HEIGHT, WIDTH)
    assert torch.allclose(x[0], (torch.arange(WIDTH) + 0.5 - WIDTH / 2) / 50.0 * 4.0, atol=1e-5)
    world = cloud.in_world(camera)
    assert torch.allclose(world.points @ camera.R.T + camera.T, cloud.points, atol=1e-4)


def test_pixels_without_depth_or_outside_the_mask_give_no_point():
    inverse, mask = torch.ones(1, HEIGHT, WIDTH), torch.ones(HEIGHT, WIDTH)
    inverse[0, :2] = 0
    mask[:, 0] = 0
    cloud = build_pcd(torch.rand(3, HEIGHT, WIDTH), inverse, mask, ring_cameras(1)[0].K)
    assert len(cloud.points) == len(cloud.colors) == (HEIGHT - 2) * (WIDTH - 1)


def test_a_depth_map_of_any_scale_and_shift_matches_the_render():
    rendered, mask = torch.rand(HEIGHT, WIDTH) + 0.5, torch.ones(HEIGHT, WIDTH)
    mask[:, :5] = 0
    given = (rendered * 7 - 3).clone()
    given[:, :5] = 1e6  # masked: must not matter
    assert torch.allclose(matched(given, rendered, mask)[:, 5:], rendered[:, 5:], atol=1e-4)
    color, K = torch.rand(3, HEIGHT, WIDTH), ring_cameras(1)[0].K
    first, second, _ = build_pcd_rescale(color, color, rendered[None], given, mask, K)
    assert torch.allclose(first.points, second.points, atol=1e-2)
    assert torch.equal(build_pcd_rescale(color, color, rendered, given, mask, K, False)[2], given)


# Picture files


def test_a_png_gives_the_same_bytes_back(tmp_path):
    picture = noise()
    (tmp_path / "a.png").write_bytes(encode_picture(picture))
    assert np.array_equal(decode_picture(tmp_path / "a.png"), picture)


def test_floats_are_rounded_to_the_nearest_byte_and_clamped():
    values = torch.tensor([-1.0, 0.5 / 255 - 1e-4, 0.5 / 255 + 1e-4, 0.5, 2.0]).expand(3, 1, 5)
    assert to_bytes(values)[0, :, 0].tolist() == [0, 0, 1, 128, 255]
    with Image.open(io.BytesIO(encode_picture(values, "jpeg"))) as image:
        assert (image.format, image.size) == ("JPEG", (5, 1))


@pytest.mark.parametrize("content", [b"", b"not a picture", encode_picture(noise())[:300]])
def test_a_damaged_picture_is_refused_by_name(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(FormatError, match=r"a\.png: cannot be decoded"):
        decode_picture(tmp_path / "a.png")


def test_the_colour_scale_gets_steadily_lighter():
    colors = glow(np.linspace(0, 1, 256)[None], 0, 1)[0].astype(float)
    lightness = colors @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(lightness) > -0.5).all() and lightness[0] < 2 and lightness[-1] > 240


@pytest.mark.parametrize("values", [np.zeros((4, 5)), np.full((4, 5), np.nan), np.ones((4, 5))])
def test_depth_maps_without_a_range_have_a_picture(values):
    assert depth_picture(values.astype(np.float32)).shape == (4, 5, 3)


def test_thumbnails_keep_the_aspect_and_the_mean(tmp_path: Path):
    small = thumbnail(noise(), 15)
    assert small.shape == (10, 15, 3)
    assert abs(float(small.mean()) - float(noise().mean())) < 2
    assert thumbnail(small, 100) is small
