"""Every kind of picture file is converted in the stated way, or refused by name."""

from __future__ import annotations

import os
import struct
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from odd_pictures import declared_png
from PIL import Image, ImageCms, ImageFile, PngImagePlugin

from gaussian_splatting.dataset.decode import read_colors, read_depth, read_header, read_mask
from gaussian_splatting.errors import SceneError

RGB = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
ALPHA = GREY[::-1].copy()


def save(path: Path, array: np.ndarray, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp", "ppm"])
def test_lossless_colours_come_back_as_stored(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", RGB, **({"lossless": True} if suffix == "webp" else {}))
    colors, alpha = read_colors(path)
    assert alpha is None
    np.testing.assert_array_equal(colors, RGB)
    assert colors.flags.c_contiguous and colors.flags.writeable


def test_jpeg_comes_back_as_pillow_decodes_it(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", RGB, quality=95)
    np.testing.assert_array_equal(read_colors(path)[0], np.asarray(Image.open(path)))


def test_a_wrong_extension_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(RGB).save(path, format="PNG")
    np.testing.assert_array_equal(read_colors(path)[0], RGB)


def test_grey_is_repeated(tmp_path: Path) -> None:
    colors, alpha = read_colors(save(tmp_path / "a.png", GREY))
    assert alpha is None
    np.testing.assert_array_equal(colors, np.repeat(GREY[..., None], 3, axis=2))


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    image = Image.fromarray(GREY % 4).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    image.save(tmp_path / "a.png")
    colors, _ = read_colors(tmp_path / "a.png")
    np.testing.assert_array_equal(colors, (np.arange(12).reshape(4, 3) * 10 + 10)[GREY % 4])


def test_a_transparent_palette_gives_alpha(tmp_path: Path) -> None:
    image = Image.fromarray(GREY % 2).convert("P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(tmp_path / "a.png", transparency=0)
    _, alpha = read_colors(tmp_path / "a.png")
    np.testing.assert_array_equal(alpha, (GREY % 2) * 255)
    assert read_header(tmp_path / "a.png").has_alpha


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_returned_beside_straight_colours(tmp_path: Path, mode: str) -> None:
    channels = RGB if mode == "RGBA" else GREY[..., None]
    save(tmp_path / "a.png", np.concatenate([channels, ALPHA[..., None]], axis=2))
    colors, alpha = read_colors(tmp_path / "a.png")
    np.testing.assert_array_equal(alpha, ALPHA)
    np.testing.assert_array_equal(colors, np.broadcast_to(channels, RGB.shape))


def test_cmyk_is_converted_by_pillow(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", RGB, "CMYK", quality=95)
    colors, _ = read_colors(path)
    np.testing.assert_array_equal(colors, np.asarray(Image.open(path).convert("RGB")))
    assert np.abs(colors.astype(int) - RGB).mean() < 40


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_16_bit_grey_is_scaled_to_8_bits(tmp_path: Path, suffix: str) -> None:
    deep = GREY.astype(np.uint16) * 257 + 100
    save(tmp_path / f"a.{suffix}", deep)
    colors, _ = read_colors(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(colors[..., 1], GREY)


def test_16_bit_colour_tiff_is_scaled_to_8_bits(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tiff", RGB.astype(np.uint16) * 257, photometric="rgb")
    assert np.abs(read_colors(tmp_path / "a.tiff")[0].astype(int) - RGB).max() <= 1


def test_16_bit_colour_png_is_scaled_to_8_bits(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), RGB[..., ::-1].astype(np.uint16) * 257)
    assert np.abs(read_colors(tmp_path / "a.png")[0].astype(int) - RGB).max() <= 1


@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 3)])
def test_float_tiff_is_taken_as_fractions(tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = np.linspace(0, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    tifffile.imwrite(tmp_path / "a.tiff", values, photometric="rgb" if len(shape) == 3 else "minisblack")
    colors, _ = read_colors(tmp_path / "a.tiff")
    expected = np.rint(values * 255) if values.ndim == 3 else np.repeat(np.rint(values * 255)[..., None], 3, axis=2)
    np.testing.assert_array_equal(colors, expected)


@pytest.mark.parametrize("bad", [255.0, np.nan, -1.0])
def test_float_colours_out_of_range_are_refused(tmp_path: Path, bad: float) -> None:
    tifffile.imwrite(tmp_path / "a.tiff", np.array([[0.5, bad]], dtype=np.float32))
    with pytest.raises(SceneError, match=r"a\.tiff: float values must lie in 0 to 1; found .*; tone-map or scale"):
        read_colors(tmp_path / "a.tiff")


def test_animations_are_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(GREY[::-1])]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(SceneError, match=r"a\.gif: an animation of 2 frames; save the frame to use"):
        read_header(tmp_path / "a.gif")


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_animations_of_newer_formats_are_refused_too(tmp_path: Path, suffix: str) -> None:
    frames = [Image.fromarray(RGB), Image.fromarray(RGB[::-1])]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(SceneError, match=rf"a\.{suffix}: an animation of 2 frames; save the frame to use"):
        read_colors(tmp_path / f"a.{suffix}")


def test_a_colour_profile_is_ignored(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    path = save(tmp_path / "a.png", RGB, icc_profile=profile)
    np.testing.assert_array_equal(read_colors(path)[0], RGB)


def test_a_gamma_value_is_ignored(tmp_path: Path) -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"gAMA", struct.pack(">I", 100_000))
    np.testing.assert_array_equal(read_colors(save(tmp_path / "a.png", RGB, pnginfo=chunks))[0], RGB)


def test_black_and_white_becomes_0_and_255(tmp_path: Path) -> None:
    colors, _ = read_colors(save(tmp_path / "a.png", GREY, "1"))
    assert set(np.unique(colors)) == {0, 255}


@pytest.mark.parametrize("suffix", ["hdr", "exr"])
def test_pictures_of_high_dynamic_range_are_named_and_refused(tmp_path: Path, suffix: str) -> None:
    beginning = {"hdr": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 6 +X 8\n", "exr": b"v/1\x01\x02\0\0\0channels\0"}
    (tmp_path / f"a.{suffix}").write_bytes(beginning[suffix] + bytes(200))
    with pytest.raises(SceneError, match=rf"a\.{suffix}: not a picture, it begins with"):
        read_colors(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_header_says_how_the_camera_was_held(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    save(tmp_path / "a.jpg", RGB, exif=exif)
    header = read_header(tmp_path / "a.jpg")
    assert (header.width, header.height, header.orientation) == (8, 6, orientation)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
def test_no_cut_picture_decodes_to_something_else(tmp_path: Path, suffix: str) -> None:
    """Cut at every 1/64 of its length a file is refused by name, or still holds every pixel."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = save(tmp_path / f"whole.{suffix}", pixels)
    content, expected = whole.read_bytes(), read_colors(whole)[0]
    cut = tmp_path / f"cut.{suffix}"
    num_refused = 0
    for part in range(64):
        cut.write_bytes(content[: len(content) * part // 64])
        try:
            colors = read_colors(cut)[0]
        except SceneError as error:
            assert str(cut) in str(error) and "replace the file" in str(error)
            num_refused += 1
        else:
            np.testing.assert_array_equal(colors, expected)
    assert num_refused >= 60


def test_a_decoder_that_tolerates_cut_files_fails_the_same_cuts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: Pillow's own switch, which fills the rest with grey."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(AssertionError):
        test_no_cut_picture_decodes_to_something_else(tmp_path, "jpg")


@pytest.fixture
def fast_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where the system has one: a thousand small files take a busy disk minutes."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def test_flipped_bits_never_raise_anything_but_a_scene_error(tmp_path: Path, fast_folder: Path) -> None:
    rng, damaged_path = np.random.default_rng(1), fast_folder / "b"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow and tifffile warn about what they find
        for suffix in ("jpg", "png", "tiff", "webp"):
            content = np.frombuffer(save(tmp_path / f"a.{suffix}", RGB).read_bytes(), np.uint8)
            for _ in range(400):
                damaged = content.copy()
                damaged[rng.integers(0, len(content), 3)] ^= rng.integers(1, 256, 3, dtype=np.uint8)
                damaged_path.write_bytes(damaged.tobytes())
                for read in (read_colors, read_mask, read_depth):
                    try:
                        read(damaged_path, 2**16)  # a flip may declare any size
                    except SceneError as error:
                        assert str(damaged_path) in str(error)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"not a picture, it begins with nothing \(the file is empty\); replace the file"),
        (b"<!DOCTYPE html><html>404</html>", r"not a picture, it begins with b'<!DOCTYPE html><"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(SceneError, match=message):
        read_colors(tmp_path / "a.jpg")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"a\.jpg: cannot be read: No such file or directory; check the file"):
        read_colors(tmp_path / "a.jpg")


def test_a_pipe_is_refused_without_being_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(SceneError, match=r"a\.jpg: a pipe, not a picture file"):
        read_header(tmp_path / "a.jpg")


def bomb(path: Path, width: int, height: int) -> Path:
    path.write_bytes(declared_png(width, height))
    return path


@pytest.mark.parametrize("size", [(65535, 65535), (50_000, 40_000), (12_288, 12_288)])
def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path, size: tuple[int, int]) -> None:
    path = bomb(tmp_path / "a.png", *size)
    pixels = size[0] * size[1]
    with pytest.raises(
        SceneError, match=rf"{pixels} pixels, more than the limit of 134217728; .*--max_pixels {pixels}"
    ):
        read_colors(path)


def test_a_raised_limit_lets_a_large_picture_pass(tmp_path: Path) -> None:
    """Pillow's own limit, which refuses 179 million pixels and warns at 89 million, does not interfere."""
    header = read_header(bomb(tmp_path / "a.png", 14_204, 14_204), max_pixels=2**28)
    assert (header.width, header.height) == (14_204, 14_204)
    assert Image.MAX_IMAGE_PIXELS is not None


def test_a_tiff_that_declares_too_much_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tiff", np.zeros((6, 8), np.float32))
    with pytest.raises(SceneError, match=r"8 x 6 = 48 pixels, more than the limit of 40"):
        read_depth(tmp_path / "a.tiff", max_pixels=40)


@pytest.mark.parametrize("mode", ["L", "RGB", "1", "I;16", "float tiff", "byte tiff"])
def test_masks_of_every_depth_agree(tmp_path: Path, mode: str) -> None:
    keep = GREY > 100
    path = tmp_path / ("a.tiff" if "tiff" in mode else "a.png")
    if mode == "float tiff":
        tifffile.imwrite(path, keep.astype(np.float32))
    elif mode == "byte tiff":
        tifffile.imwrite(path, keep.astype(np.uint8) * 255)
    elif mode == "I;16":
        save(path, keep.astype(np.uint16) * 65535)
    else:
        save(path, keep.astype(np.uint8) * 255, mode)
    np.testing.assert_array_equal(read_mask(path), keep * 255)


def test_a_mask_of_zeros_and_ones_is_taken_as_such(tmp_path: Path) -> None:
    keep = (GREY > 100).astype(np.uint8)
    np.testing.assert_array_equal(read_mask(save(tmp_path / "a.png", keep)), keep * 255)


def test_soft_masks_keep_their_values(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_mask(save(tmp_path / "a.png", GREY)), GREY)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_depth_pngs_hold_raw_integers(tmp_path: Path, dtype: type) -> None:
    values = GREY.astype(dtype) * dtype(200 if dtype is np.uint16 else 1)
    depth = read_depth(save(tmp_path / "a.png", values))
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth, values)


def test_colour_depth_pngs_give_their_first_channel(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_depth(save(tmp_path / "a.png", RGB)), RGB[..., 0])


def test_16_bit_colour_depth_pngs_are_refused(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), RGB.astype(np.uint16) * 257)
    with pytest.raises(SceneError, match="16-bit values in RGB channels; save the map with a single channel"):
        read_depth(tmp_path / "a.png")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.uint16])
def test_depth_tiffs_hold_raw_values(tmp_path: Path, dtype: type) -> None:
    values = np.linspace(0, 50, 48).reshape(6, 8).astype(dtype)
    if dtype is np.float32:
        values[0, 0] = np.nan
    tifffile.imwrite(tmp_path / "a.tiff", values)
    np.testing.assert_array_equal(read_depth(tmp_path / "a.tiff"), values.astype(np.float32))
