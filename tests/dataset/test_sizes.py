"""Pictures that do not have the size of their cameras."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaussian_splatting.dataset.decode import PictureHeader
from gaussian_splatting.dataset.lenses import Lens
from gaussian_splatting.dataset.sizes import fit_lens, reduced_size, require_reduction, same_shape
from gaussian_splatting.errors import SceneError

CAMERA = Lens("PINHOLE", 4000, 3000, (3500.0, 3600.0, 2010.0, 1490.0))


def header(width: int, height: int, orientation: int = 1) -> PictureHeader:
    return PictureHeader(width, height, orientation, has_alpha=False)


@given(
    size=st.tuples(st.integers(60, 9000), st.integers(60, 9000)),
    scale=st.floats(0.1, 4),
    round_up=st.tuples(st.booleans(), st.booleans()),
)
@settings(max_examples=300)
def test_a_scaled_size_has_the_same_shape_however_it_was_rounded(
    size: tuple[int, int], scale: float, round_up: tuple[bool, bool]
) -> None:
    scaled = tuple(max(1, int(side * scale) + up) for side, up in zip(size, round_up, strict=True))
    assert same_shape((scaled[0], scaled[1]), size)
    assert same_shape(size, (scaled[0], scaled[1]))


@pytest.mark.parametrize("size", [(4000, 2250), (3000, 4000), (4000, 2997), (3000, 3000), (2000, 1600)])
def test_another_aspect_is_another_shape(size: tuple[int, int]) -> None:
    assert not same_shape(size, (4000, 3000))


def test_a_picture_of_the_camera_size_changes_nothing() -> None:
    assert fit_lens(CAMERA, Path("a.jpg"), header(4000, 3000)) == (CAMERA, 1)


@pytest.mark.parametrize("size", [(4001, 3000), (3999, 3001), (2000, 1500), (8000, 6000)])
def test_the_same_shape_scales_the_intrinsics_along_each_axis(size: tuple[int, int]) -> None:
    lens, turn = fit_lens(CAMERA, Path("a.jpg"), header(*size))
    assert turn == 1
    assert (lens.width, lens.height) == size
    across, down = size[0] / 4000, size[1] / 3000
    assert lens.params == pytest.approx((3500 * across, 3600 * down, 2010 * across, 1490 * down))


def test_a_transposed_picture_is_refused() -> None:
    message = r"a\.jpg: 3000 x 4000 pixels, but its camera has 4000 x 3000: the picture is turned by 90 degrees"
    with pytest.raises(SceneError, match=message):
        fit_lens(CAMERA, Path("a.jpg"), header(3000, 4000))


def test_another_aspect_is_refused() -> None:
    with pytest.raises(SceneError, match="4000 x 3000: another shape; .* neither cropped nor padded"):
        fit_lens(CAMERA, Path("a.jpg"), header(4000, 2250))


def test_exif_is_not_applied_to_a_picture_that_fits_as_stored() -> None:
    assert fit_lens(CAMERA, Path("a.jpg"), header(4000, 3000, 6)) == (CAMERA, 1)


def test_exif_is_applied_when_only_the_turned_picture_fits() -> None:
    assert fit_lens(CAMERA, Path("a.jpg"), header(3000, 4000, 6)) == (CAMERA, 6)


@pytest.mark.parametrize(
    ("resolution", "image_scale", "expected"),
    [
        (None, None, (4000, 3000)),
        (1, None, (4000, 3000)),
        (2, None, (2000, 1500)),
        (8, None, (500, 375)),
        (-1, None, (1600, 1200)),
        (1000, None, (1000, 750)),
        (9000, None, (4000, 3000)),
        (None, 0.1, (400, 300)),
    ],
)
def test_reduced_sizes(resolution: int | None, image_scale: float | None, expected: tuple[int, int]) -> None:
    assert reduced_size((4000, 3000), resolution, image_scale) == expected


def test_minus_one_leaves_small_pictures_alone() -> None:
    assert reduced_size((640, 480), -1, None) == (640, 480)


@pytest.mark.parametrize(
    ("resolution", "image_scale", "message"),
    [
        (3, None, "resolution 3 means nothing; give 1, 2, 4 or 8"),
        (0, None, "resolution 0 means nothing"),
        (2, 0.5, r"resolution \(2\) and image_scale \(0.5\) exclude each other"),
        (None, 0.0, "image_scale must lie above 0 and at most at 1; found 0.0"),
        (None, float("nan"), "image_scale must lie above 0"),
        (None, 1.5, "found 1.5"),
    ],
)
def test_reductions_that_mean_nothing_are_refused(
    resolution: int | None, image_scale: float | None, message: str
) -> None:
    with pytest.raises(SceneError, match=message):
        require_reduction(resolution, image_scale)
