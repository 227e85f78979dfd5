"""The depth tool, with a tiny random network made on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import run_depth_anything_v2 as tool
import tifffile
import torch
from PIL import Image

from gaussian_splatting.dataset.decode import read_depth, read_mask
from gaussian_splatting.errors import SplatError

# What others deprecate in themselves while they are imported is not about us.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
SIZE = (50, 34)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a network with random weights, in safetensors."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra `depth`)")
    torch.manual_seed(0)
    backbone = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, mlp_ratio=2, image_size=56, patch_size=14,
        out_indices=[1, 2, 3, 4], apply_layernorm=True, reshape_hidden_states=False,
    )  # fmt: skip
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, patch_size=14, neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8, head_hidden_size=4,
    )  # fmt: skip
    model = transformers.DepthAnythingForDepthEstimation(config)
    # As made, the weights are so small that every picture looks alike; and the last ReLU could leave nothing to see.
    with torch.no_grad():
        for weights in model.parameters():
            weights.normal_(std=0.2)
        model.head.conv3.bias.fill_(1.0)
    folder = tmp_path_factory.mktemp("network")
    model.save_pretrained(folder)
    return folder


def write_picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return path


def run(pictures: Path, out: Path, network: Path | str) -> int:
    return tool.main(
        ["--img-path", str(pictures), "--outdir", str(out), "--model", str(network), "--input-size", "28",
         "--device", "cpu"]
    )  # fmt: skip


def test_four_files_for_each_picture_under_its_sub_folder(tmp_path: Path, network: Path) -> None:
    """Equal names in two folders stay apart; masks and other files are no pictures."""
    for seed, name in enumerate(("a.png", "left/a.png", "left/b.jpg", "a_mask.png")):
        write_picture(tmp_path / "images" / name, seed)
    (tmp_path / "images" / "notes.md").write_text("x")
    assert run(tmp_path / "images", tmp_path / "depths", network) == 0
    written = sorted(path.relative_to(tmp_path / "depths").as_posix() for path in (tmp_path / "depths").rglob("*.*"))
    stems = ("a", "left/a", "left/b")
    assert written == sorted(f"{stem}{end}" for stem in stems for end in (".tiff", "_mask.tiff", ".png", "_mask.png"))
    first, second = (read_depth(tmp_path / "depths" / f"{stem}.tiff") for stem in stems[:2])
    assert not np.array_equal(first, second)


def test_the_values_are_those_of_the_network(tmp_path: Path, network: Path) -> None:
    """float32 disparity as the network gives it; the PNG is that from 0 to 255."""
    from transformers import DepthAnythingForDepthEstimation

    picture = write_picture(tmp_path / "images" / "a.png")
    assert run(picture, tmp_path, network) == 0
    stored = tifffile.imread(tmp_path / "a.tiff")
    assert (stored.dtype, stored.shape) == (np.float32, SIZE[::-1])
    model = DepthAnythingForDepthEstimation.from_pretrained(network, use_safetensors=True).eval()
    expected = tool.disparity_of(model, np.array(Image.open(picture)), 28)
    np.testing.assert_array_equal(stored, expected)
    assert np.ptp(stored) > 0
    shown = np.array(Image.open(tmp_path / "a.png"))
    assert shown.shape == (*SIZE[::-1], 3)
    scaled = (stored - stored.min()) / np.ptp(stored) * 255
    np.testing.assert_allclose(shown[..., 0], scaled, atol=0.51)
    for mask in ("a_mask.tiff", "a_mask.png"):
        assert (read_mask(tmp_path / mask) == 255).all()


def test_a_constant_picture_of_a_network_is_black(tmp_path: Path) -> None:
    tool.write_depth(tmp_path, "flat", np.full((4, 5), 2.5, np.float32))
    assert (np.array(Image.open(tmp_path / "flat.png")) == 0).all()
    assert (tifffile.imread(tmp_path / "flat.tiff") == 2.5).all()


@pytest.mark.parametrize(
    ("size", "expected"),
    [((518, 518), (518, 518)), ((540, 960), (518, 924)), ((1000, 100), (5180, 518)), ((50, 34), (756, 518))],
)
def test_sizes_for_the_network_are_multiples_of_its_patches(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert tool.network_size(*size, 518) == expected
    assert all(side % 14 == 0 and side >= 500 for side in tool.network_size(*size, 500))


def test_lists_of_pictures(tmp_path: Path) -> None:
    """Seen from the working folder or from the list; the folders that they share are left out of the names."""
    for name in ("x/one/a.png", "x/two/a.png"):
        write_picture(tmp_path / name)
    (tmp_path / "list.txt").write_text(f"x/one/a.png\n\n{tmp_path}/x/two/a.png\n")
    assert [job.name for job in tool.find_pictures(tmp_path / "list.txt")] == ["one/a", "two/a"]
    (tmp_path / "list.txt").write_text("x/one/a.png\nnone.png\n")
    with pytest.raises(SplatError, match=r"line 2: none\.png does not exist; correct the list"):
        tool.find_pictures(tmp_path / "list.txt")


def test_pictures_that_would_write_one_file_are_refused(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        write_picture(tmp_path / name)
    with pytest.raises(SplatError, match=r"a\.jpg and .*a\.png would both write a\.tiff"):
        tool.find_pictures(tmp_path)


def test_pictures_are_not_replaced_by_their_depth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = write_picture(tmp_path / "a.png").read_bytes()
    assert run(tmp_path, tmp_path, "none") == 2
    assert "a.png is a picture there; write elsewhere, with --outdir" in capsys.readouterr().err
    assert (tmp_path / "a.png").read_bytes() == before


def test_nothing_to_do_is_said(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.png"):
        with pytest.raises(SplatError, match="no pictures there; give a picture"):
            tool.find_pictures(path)


def test_pickled_weights_are_never_loaded(
    tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with only a pickle is refused, and torch.load is not called."""
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was called"))
    (tmp_path / "config.json").write_bytes((network / "config.json").read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    assert run(write_picture(tmp_path / "a.png"), tmp_path / "depths", tmp_path) == 2
    assert "give a folder with config.json and model.safetensors" in capsys.readouterr().err


def test_the_giant_has_no_published_weights() -> None:
    with pytest.raises(SplatError, match="vitg: its weights are not published; give a folder of your own"):
        tool.load_network(None, "vitg", "cpu")
