"""Pictures that do not have the size of their cameras."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gaussian_splatting.dataset.decode import PictureHeader
from gaussian_splatting.dataset.lenses import Lens
from gaussian_splatting.dataset.sizes import fit_lens, reduced_picture, reduced_size, require_reduction, same_shape
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


SIDES = st.integers(64, 9000)


@given(size=st.tuples(SIDES, SIDES), off=st.tuples(st.integers(-1, 1), st.integers(-1, 1)), point=st.tuples(
    st.floats(-1, 1), st.floats(-1, 1)))  # fmt: skip
@settings(max_examples=250)
def test_a_pixel_more_or_less_scales_each_axis_by_itself(
    size: tuple[int, int], off: tuple[int, int], point: tuple[float, float]
) -> None:
    assert_scaled(size, (size[0] + off[0], size[1] + off[1]), point)


@given(size=st.tuples(SIDES, SIDES), ratio=st.sampled_from([0.125, 0.25, 0.5, 2 / 3, 1.5, 2.0, 3.0]))
@settings(max_examples=250)
def test_a_picture_of_a_simple_ratio_scales_each_axis_by_itself(size: tuple[int, int], ratio: float) -> None:
    assert_scaled(size, (round(size[0] * ratio), round(size[1] * ratio)), (0.3, -0.2))


def assert_scaled(size: tuple[int, int], stored: tuple[int, int], point: tuple[float, float]) -> None:
    """A ray meets the stored picture where it met the camera's, as a fraction of the width and of the height."""
    camera = Lens("PINHOLE", *size, (0.9 * size[0], 1.1 * size[0], 0.51 * size[0], 0.48 * size[1]))
    lens, turn = fit_lens(camera, Path("a.jpg"), header(*stored))
    assert turn == 1
    assert (lens.width, lens.height) == stored
    for axis in (0, 1):
        was = (camera.params[axis] * point[axis] + camera.params[axis + 2]) / size[axis]
        now = (lens.params[axis] * point[axis] + lens.params[axis + 2]) / stored[axis]
        assert now == pytest.approx(was, rel=1e-12, abs=1e-12)


@given(size=st.tuples(SIDES, SIDES), stretch=st.floats(1.05, 4), along=st.integers(0, 1), orientation=st.integers(1, 8))
@settings(max_examples=250)
def test_a_picture_stretched_along_one_axis_is_refused(
    size: tuple[int, int], stretch: float, along: int, orientation: int
) -> None:
    stored = tuple(round(side * stretch) if axis == along else side for axis, side in enumerate(size))
    assume(not same_shape((stored[1], stored[0]), size))  # turned, it might fit
    with pytest.raises(SceneError, match=rf"a\.jpg: {stored[0]} x {stored[1]} pixels, but its camera has"):
        fit_lens(Lens("PINHOLE", *size, (9.0, 9.0, 1.0, 1.0)), Path("a.jpg"), header(*stored, orientation))


@given(size=st.tuples(SIDES, SIDES))
@settings(max_examples=100)
def test_a_transposed_picture_is_refused_unless_exif_turns_it(size: tuple[int, int]) -> None:
    assume(not same_shape((size[1], size[0]), size))
    lens = Lens("PINHOLE", *size, (9.0, 9.0, 1.0, 1.0))
    with pytest.raises(SceneError, match="turned by 90 degrees"):
        fit_lens(lens, Path("a.jpg"), header(size[1], size[0]))
    assert fit_lens(lens, Path("a.jpg"), header(size[1], size[0], 6)) == (lens, 6)


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
    ("size", "resolution", "image_scale", "message"),
    [
        ((1600, 1200), None, 0.0001, "--image_scale 0.0001 leaves 1 x 1 of its 1600 x 1200 pixels"),
        ((1600, 1200), None, 0.0087, "--image_scale 0.0087 leaves 14 x 10 of its 1600 x 1200 pixels"),
        ((1600, 80), 8, None, "--resolution 8 leaves 200 x 10 of its 1600 x 80 pixels"),
        ((1600, 900), 16, None, "--resolution 16 leaves 16 x 9 of its 1600 x 900 pixels"),
        ((40, 8), 2, None, "--resolution 2 leaves 20 x 4 of its 40 x 8 pixels"),
    ],
)
def test_a_reduction_that_leaves_less_than_a_window_is_refused(
    size: tuple[int, int], resolution: int | None, image_scale: float | None, message: str
) -> None:
    with pytest.raises(SceneError) as refusal:
        reduced_picture(Path("a.jpg"), size, resolution, image_scale)
    assert str(refusal.value) == f"a.jpg: {message}; SSIM looks at 11 x 11 at a time: reduce less"


@pytest.mark.parametrize(
    ("size", "resolution", "image_scale", "expected"),
    [
        ((1600, 1200), None, 0.0092, (15, 11)),
        ((88, 88), 8, None, (11, 11)),
        ((5, 4), 1, None, (5, 4)),
        ((5, 4), None, 1.0, (5, 4)),
        ((5, 4), None, None, (5, 4)),
        ((5, 4), -1, None, (5, 4)),
    ],
)
def test_a_window_may_be_left_and_a_picture_small_by_itself(
    size: tuple[int, int], resolution: int | None, image_scale: float | None, expected: tuple[int, int]
) -> None:
    assert reduced_picture(Path("a.jpg"), size, resolution, image_scale) == expected


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
