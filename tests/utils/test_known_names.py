"""Every name that 3DGS code imports from utils is there, and is the house's own function."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from gaussian_splatting import utils

KNOWN = (
    "inverse_sigmoid",
    "PILtoTorch",
    "read_image",
    "read_image_mask",
    "read_png_depth",
    "read_tiff_depth",
    "read_depth",
    "read_depth_mask",
    "strip_lowerdiag",
    "strip_symmetric",
    "build_rotation",
    "build_scaling_rotation",
    "eval_sh",
    "RGB2SH",
    "SH2RGB",
    "C0",
    "C1",
    "C2",
    "C3",
    "C4",
    "getWorld2View",
    "getWorld2View2",
    "getProjectionMatrix",
    "fov2focal",
    "focal2fov",
    "getK",
    "l1_loss",
    "l2_loss",
    "gaussian",
    "create_window",
    "ssim",
    "get_expon_lr_func",
    "mse",
    "psnr",
    "standardize_quaternion",
    "matrix_to_quaternion",
    "normalize_quaternion",
    "quaternion_to_matrix",
    "quaternion_raw_multiply",
    "unproject",
)


@pytest.mark.parametrize("name", KNOWN)
def test_a_known_name_is_there(name):
    assert getattr(utils, name) is not None
    assert name in dir(utils)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'magic'"):
        utils.magic  # noqa: B018


def test_lpips_is_under_its_known_name():
    from gaussian_splatting.losses.lpips import lpips
    from gaussian_splatting.utils.lpipsPyTorch import lpips as known

    assert known is lpips


def test_importing_utils_imports_nothing_heavy():
    code = "import sys, gaussian_splatting.utils; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_pictures_are_read_as_tensors(tmp_path):
    colors = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    Image.fromarray(colors).save(tmp_path / "a.png")
    Image.fromarray((colors[..., 0] > 20).astype(np.uint8) * 255).save(tmp_path / "mask.png")
    expected = torch.from_numpy(colors).permute(2, 0, 1) / 255
    torch.testing.assert_close(utils.read_image(tmp_path / "a.png"), expected)
    torch.testing.assert_close(utils.PILtoTorch(Image.open(tmp_path / "a.png")), expected)
    mask = utils.read_image_mask(str(tmp_path / "mask.png"))
    assert mask.tolist() == (colors[..., 0] > 20).astype(float).tolist()


def test_a_pillow_picture_is_resized_on_request():
    assert utils.PILtoTorch(Image.new("RGB", (8, 6)), (4, 3)).shape == (3, 3, 4)
    assert utils.PILtoTorch(Image.new("L", (8, 6))).shape == (1, 6, 8)


def test_depth_is_read_as_stored(tmp_path):
    values = np.array([[0, 1000], [65535, 7]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "depth.png")
    for read in (utils.read_depth, utils.read_png_depth):
        assert read(tmp_path / "depth.png").tolist() == values.astype(float).tolist()
