"""What a view's pictures become: turned, undistorted, scaled, masked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from example_scenes import picture
from PIL import Image

from gaussian_splatting.dataset.lenses import Lens
from gaussian_splatting.dataset.load import load_pictures, turned, with_arrays
from gaussian_splatting.dataset.undistort import pixel_map, undistort, undistorted_pinhole
from gaussian_splatting.dataset.view import View
from gaussian_splatting.errors import SceneError

SIZE = (40, 30)
PIXELS = picture(SIZE)
LENS = Lens("OPENCV", *SIZE, (35.0, 36.0, 21.0, 14.0, -0.2, 0.05, 0.001, -0.002))


def view(folder: Path, **changes: Any) -> View:
    Image.fromarray(PIXELS).save(folder / "a.png")
    plain = View("a.png", *SIZE, 35.0, 36.0, 20.0, 15.0, np.eye(3), np.zeros(3), folder / "a.png", stored_size=SIZE)
    return replace(plain, **changes)


def undistorted_view(folder: Path, **changes: Any) -> View:
    pinhole = undistorted_pinhole(LENS)
    return view(folder, lens=LENS, **{**vars(pinhole), **changes})


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_agrees_with_pillow(tmp_path: Path, orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.png")))
    np.testing.assert_array_equal(turned(PIXELS, orientation), expected)


def test_a_picture_of_the_right_size_is_untouched(tmp_path: Path) -> None:
    pictures = load_pictures(view(tmp_path))
    assert pictures.colors is not None
    np.testing.assert_array_equal(pictures.colors.numpy(), PIXELS)
    assert pictures.mask is pictures.depth is pictures.depth_mask is None
    assert pictures.nbytes == PIXELS.nbytes


def test_a_reduced_picture_is_the_average_over_areas(tmp_path: Path) -> None:
    pictures = load_pictures(view(tmp_path).resized(20, 15))
    assert pictures.colors is not None
    means = PIXELS.reshape(15, 2, 20, 2, 3).mean(axis=(1, 3))
    assert np.abs(pictures.colors.numpy() - means).max() <= 0.5


def test_a_picture_that_changed_since_the_scene_was_read_is_refused(tmp_path: Path) -> None:
    changed = view(tmp_path)
    Image.fromarray(PIXELS[:20]).save(tmp_path / "a.png")
    with pytest.raises(SceneError, match=r"a\.png: now 40 x 20 pixels, but 40 x 30 when the scene was read"):
        load_pictures(changed)


def test_a_picture_that_disappeared_is_named(tmp_path: Path) -> None:
    gone = view(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(SceneError, match=r"a\.png: cannot be read: No such file"):
        load_pictures(gone)


def test_alpha_is_the_mask_when_there_is_no_mask_file(tmp_path: Path) -> None:
    alpha = PIXELS[..., :1]
    loaded = view(tmp_path)
    Image.fromarray(np.concatenate([PIXELS, alpha], axis=2)).save(tmp_path / "a.png")
    mask = load_pictures(loaded).mask
    assert mask is not None
    np.testing.assert_array_equal(mask.numpy(), alpha[..., 0])
    assert load_pictures(loaded, load_mask=False).mask is None


def test_a_mask_file_wins_over_alpha(tmp_path: Path) -> None:
    loaded = view(tmp_path, image_mask_path=tmp_path / "m.png")
    Image.fromarray(np.concatenate([PIXELS, PIXELS[..., :1]], axis=2)).save(tmp_path / "a.png")
    Image.fromarray(PIXELS[..., 1]).save(tmp_path / "m.png")
    mask = load_pictures(loaded).mask
    assert mask is not None
    np.testing.assert_array_equal(mask.numpy(), PIXELS[..., 1])


def test_a_mask_of_another_size_takes_the_nearest_values(tmp_path: Path) -> None:
    small = np.zeros((15, 20), np.uint8)
    small[:, 10:] = 255
    Image.fromarray(small).save(tmp_path / "m.png")
    mask = load_pictures(view(tmp_path, image_mask_path=tmp_path / "m.png")).mask
    assert mask is not None
    np.testing.assert_array_equal(mask.numpy(), np.repeat(np.repeat(small, 2, 0), 2, 1))


def test_a_mask_of_another_shape_is_refused(tmp_path: Path) -> None:
    Image.fromarray(PIXELS[:20, :, 0]).save(tmp_path / "m.png")
    message = r"m\.png: 40 x 20 pixels, but its picture has 40 x 30: they do not cover the same view"
    with pytest.raises(SceneError, match=message):
        load_pictures(view(tmp_path, image_mask_path=tmp_path / "m.png"))


def test_a_turned_picture_turns_its_maps(tmp_path: Path) -> None:
    Image.fromarray(PIXELS[..., 0]).save(tmp_path / "m.png")
    upright = view(tmp_path, turn=6, width=30, height=40, image_mask_path=tmp_path / "m.png")
    pictures = load_pictures(upright)
    assert pictures.colors is not None
    assert pictures.mask is not None
    np.testing.assert_array_equal(pictures.mask.numpy(), pictures.colors.numpy()[..., 0])


def test_an_undistorted_picture_and_its_maps_agree(tmp_path: Path) -> None:
    """Colours are interpolated and maps take the nearest value, at the same places."""
    values = PIXELS[..., 0].astype(np.float32)
    tifffile.imwrite(tmp_path / "d.tiff", values)
    pictures = load_pictures(undistorted_view(tmp_path, depth_path=tmp_path / "d.tiff"))
    assert pictures.colors is not None
    assert pictures.depth is not None
    assert pictures.colors.shape[:2] == pictures.depth.shape
    np.testing.assert_array_equal(pictures.colors.numpy(), undistort(PIXELS, pixel_map(LENS)))
    assert set(np.unique(pictures.depth.numpy())) <= set(np.unique(values))
    slope = np.abs(np.diff(values, axis=1)).max()
    assert np.abs(pictures.depth.numpy() - pictures.colors.numpy()[..., 0]).max() <= 1.5 * slope


def test_what_the_lens_did_not_see_is_masked_out(tmp_path: Path) -> None:
    lens = Lens("SIMPLE_RADIAL", *SIZE, (6.0, 20.0, 15.0, 50.0))
    pixels = pixel_map(lens)
    assert pixels.covered is not None
    loaded = view(tmp_path, lens=lens, **vars(undistorted_pinhole(lens)))
    mask = load_pictures(loaded).mask
    assert mask is not None
    np.testing.assert_array_equal(mask.numpy(), pixels.covered)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -1.0])
def test_invalid_depths_are_masked_out(tmp_path: Path, bad: float) -> None:
    depth = np.full((30, 40), 0.5, np.float32)
    depth[3, 4] = bad
    tifffile.imwrite(tmp_path / "d.tiff", depth)
    pictures = load_pictures(view(tmp_path, depth_path=tmp_path / "d.tiff"))
    assert pictures.depth is not None
    assert pictures.depth_mask is not None
    assert pictures.depth[3, 4] == 0
    assert np.argwhere(pictures.depth_mask.numpy() == 0).tolist() == [[3, 4]]


def test_valid_depths_have_no_mask(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "d.tiff", np.zeros((30, 40), np.float32))
    assert load_pictures(view(tmp_path, depth_path=tmp_path / "d.tiff")).depth_mask is None


def test_a_depth_mask_and_invalid_depths_are_combined(tmp_path: Path) -> None:
    depth = np.full((30, 40), 0.5, np.float32)
    depth[0, 0] = np.nan
    keep = np.full((30, 40), 255, np.uint8)
    keep[1, 1] = 0
    tifffile.imwrite(tmp_path / "d.tiff", depth)
    Image.fromarray(keep).save(tmp_path / "dm.png")
    mask = load_pictures(view(tmp_path, depth_path=tmp_path / "d.tiff", depth_mask_path=tmp_path / "dm.png")).depth_mask
    assert mask is not None
    assert np.argwhere(mask.numpy() == 0).tolist() == [[0, 0], [1, 1]]


def test_scale_and_offset_apply_to_the_picture_over_65536(tmp_path: Path) -> None:
    values = np.full((30, 40), 6553, np.uint16)
    values[0, 0] = 0
    Image.fromarray(values).save(tmp_path / "d.png")
    pictures = load_pictures(view(tmp_path, depth_path=tmp_path / "d.png", depth_scale=(10.0, -0.25)))
    assert pictures.depth is not None
    assert pictures.depth_mask is not None
    assert pictures.depth[5, 5].item() == pytest.approx(10 * 6553 / 65536 - 0.25)
    assert pictures.depth[0, 0].item() == 0  # -0.25 is behind infinity
    assert pictures.depth_mask[0, 0].item() == 0


def test_a_camera_gets_new_floats_over_rows_of_pixels(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "d.tiff", np.ones((30, 40), np.float32))
    loaded = view(tmp_path, depth_path=tmp_path / "d.tiff")
    pictures = load_pictures(loaded)
    camera = with_arrays(loaded.camera(), pictures)
    image = camera.ground_truth_image
    assert image is not None
    assert camera.ground_truth_depth is not None
    assert image.dtype == torch.float32
    assert image.shape == (3, 30, 40)
    assert image.permute(1, 2, 0).is_contiguous()
    torch.testing.assert_close(image, torch.tensor(PIXELS).permute(2, 0, 1) / 255)
    camera.ground_truth_depth.zero_()
    assert pictures.depth is not None
    assert (pictures.depth == 1).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fx": 0.0}, "view 'a.png': its size and focal lengths must be positive; found 40 x 30 pixels, fx = 0"),
        ({"height": 0}, "found 40 x 0 pixels"),
        ({"cx": np.nan}, "view 'a.png': its pose and intrinsics must be finite; found 35, 36, nan"),
        ({"T": np.array([0, np.inf, 0])}, "must be finite"),
    ],
)
def test_impossible_views_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SceneError, match=message):
        view(tmp_path, **changes)
