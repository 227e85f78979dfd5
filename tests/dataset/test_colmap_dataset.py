"""COLMAP scenes: real ones, and every way in which files and model may disagree."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from example_scenes import SIZE, circle_of_images, picture
from PIL import Image

from gaussian_splatting.dataset.colmap import ColmapCameraDataset, read_colmap_cameras, read_colmap_points3D
from gaussian_splatting.dataset.colmap.model import (
    MODEL_OF_ID,
    ColmapCamera,
    ColmapModel,
    read_model,
    read_points,
    write_model,
)
from gaussian_splatting.dataset.lenses import LENS_MODELS
from gaussian_splatting.dataset.pictures import PictureLimits
from gaussian_splatting.errors import SceneError, SplatError

SceneMaker = Callable[..., Path]


def image_of(dataset: ColmapCameraDataset, index: int) -> np.ndarray:
    """The picture of a camera as bytes [H, W, 3]."""
    image = dataset[index].ground_truth_image
    assert image is not None
    return np.rint(image.permute(1, 2, 0).numpy() * 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("scene", "num_views", "size"),
    [
        ("fox_colmap", 50, (530, 946)),
        ("banana", 14, (1196, 795)),
        ("kermit_raw", 11, (658, 487)),
        ("sceaux_opencv", 11, (1466, 1091)),
        ("lightfield_depth", 9, (541, 375)),
    ],
)
def test_real_scenes_are_read_and_their_points_are_seen(
    shared_data: Path, scene: str, num_views: int, size: tuple[int, int]
) -> None:
    """Most sparse points project into the picture of at least one camera, in front of it."""
    dataset = ColmapCameraDataset(shared_data / scene)
    assert len(dataset) == num_views
    assert dataset.names == sorted(dataset.names)
    camera = dataset[num_views // 2]
    assert (camera.image_width, camera.image_height) == size
    assert camera.ground_truth_image is not None
    assert camera.ground_truth_image.shape == (3, size[1], size[0])
    xyz = torch.from_numpy(read_colmap_points3D(shared_data / scene)[0]).float()
    seen = torch.zeros(len(xyz), dtype=torch.bool)
    for view in dataset.views:
        clip = torch.cat([xyz, torch.ones(len(xyz), 1)], 1) @ view.camera().full_proj_transform
        seen |= (clip[:, 3] > 0) & ((clip[:, :2] / clip[:, 3:]).abs() <= 1).all(1)
    assert seen.float().mean() > 0.99
    assert dataset.scene_extent() > 0


def test_sparse_points_have_the_colours_of_the_pictures(shared_data: Path) -> None:
    """Poses, intrinsics and pictures belong together: the pixel that a point falls on has the point's colour."""
    scene = shared_data / "fox_colmap"
    dataset = ColmapCameraDataset(scene, resolution=4)
    xyz, rgb, _ = read_colmap_points3D(scene)
    camera = dataset[7]
    assert camera.ground_truth_image is not None
    seen = torch.from_numpy(xyz).float() @ camera.R.T + camera.T
    pixel = seen @ camera.K.T
    pixel = pixel[:, :2] / pixel[:, 2:]
    inside = (
        (seen[:, 2] > 0)
        & (pixel >= 0).all(1)
        & (pixel < torch.tensor([camera.image_width, camera.image_height])).all(1)
    )
    column, row = pixel[inside].long().T
    colors = camera.ground_truth_image[:, row, column].T * 255
    right = np.abs(colors.numpy() - rgb[inside.numpy()]).mean()
    shuffled = np.abs(colors.numpy() - rgb[inside.numpy()][::-1]).mean()
    assert right < 0.6 * shuffled


def test_text_and_binary_models_agree(make_scene: SceneMaker) -> None:
    binary = ColmapCameraDataset(make_scene(folder="b"))
    text = ColmapCameraDataset(make_scene(folder="t", extension=".txt"))
    assert text.scene_digest() == binary.scene_digest()


def test_cameras_are_what_the_model_says(make_scene: SceneMaker) -> None:
    dataset = ColmapCameraDataset(make_scene())
    camera = dataset[1]
    assert camera.K.tolist() == [[35, 0, 21], [0, 36, 14], [0, 0, 1]]
    assert torch.allclose(camera.camera_center, -camera.R.T @ torch.tensor([0.0, 0.0, 3.0]), atol=1e-6)
    np.testing.assert_array_equal(image_of(dataset, 1), picture(SIZE, 1))


def test_a_dataset_is_a_sequence_that_can_be_read_twice(make_scene: SceneMaker) -> None:
    dataset = ColmapCameraDataset(make_scene())
    first, second = list(dataset), list(dataset)
    assert len(first) == len(dataset) == 3
    for a, b in zip(first, second, strict=True):
        assert a.ground_truth_image is not None
        assert b.ground_truth_image is not None
        assert torch.equal(a.ground_truth_image, b.ground_truth_image)
        assert a.custom_data is not b.custom_data
    assert dataset[-1].ground_truth_image_path == dataset[2].ground_truth_image_path
    with pytest.raises(IndexError, match="camera 3 of a dataset of 3"):
        dataset[3]


def test_changing_a_camera_does_not_change_the_dataset(make_scene: SceneMaker) -> None:
    dataset = ColmapCameraDataset(make_scene())
    camera = dataset[0]
    assert camera.ground_truth_image is not None
    camera.ground_truth_image.zero_()
    camera.bg_color.fill_(1)
    np.testing.assert_array_equal(image_of(dataset, 0), picture(SIZE, 0))
    assert dataset[0].bg_color.tolist() == [0, 0, 0]


def test_raw_cameras(make_scene: SceneMaker) -> None:
    scene = make_scene()
    raw = read_colmap_cameras(scene)
    assert [camera.image_path for camera in raw] == [(scene / "images" / f"{n}.png").as_posix() for n in "abc"]
    assert raw[0].FoVx == pytest.approx(2 * np.arctan(20 / 35))
    assert raw[0].cx == 21
    assert len(ColmapCameraDataset(scene).raw_cameras) == 3
    assert len(ColmapCameraDataset(scene).cameras) == 3


# Missing and odd files ------------------------------------------------------------------------------------------------


def test_missing_pictures_are_listed_and_left_out(make_scene: SceneMaker) -> None:
    scene = make_scene(missing=["b.png"])
    with pytest.warns(UserWarning, match=r"1 of 3 pictures are not in .*images, left out: b\.png"):
        assert ColmapCameraDataset(scene).names == ["a.png", "c.png"]
    with pytest.raises(SceneError, match=r"1 of the 3 pictures of the model are not there, b\.png; put them there"):
        ColmapCameraDataset(scene, strict=True)


def test_nineteen_of_twenty_pictures_missing_leave_one(make_scene: SceneMaker) -> None:
    names = [f"{index:02d}.png" for index in range(20)]
    scene = make_scene(names, missing=names[1:])
    with pytest.warns(UserWarning, match=r"19 of 20 pictures .* left out: 01\.png, 02\.png, .*, …"):
        assert ColmapCameraDataset(scene).names == ["00.png"]


def test_all_pictures_missing_is_an_error_that_says_where_it_looked(make_scene: SceneMaker) -> None:
    scene = make_scene(missing=["a.png", "b.png", "c.png"])
    with pytest.raises(SceneError, match=r"scene/images: 3 of the 3 pictures .* name their folder with images="):
        ColmapCameraDataset(scene)


def test_a_missing_folder_of_pictures_lists_the_others(make_scene: SceneMaker) -> None:
    scene = make_scene()
    (scene / "images").rename(scene / "input")
    with pytest.raises(SceneError, match=r"scene/images: no such folder of pictures; folders there: input, sparse"):
        ColmapCameraDataset(scene)
    assert len(ColmapCameraDataset(scene, images="input")) == 3


def test_a_missing_scene_is_named(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="nothing: no such folder; give the folder that holds `sparse` and `images`"):
        ColmapCameraDataset(tmp_path / "nothing")


ODD_NAMES = [
    "a b.png",
    " leading.png",
    'it\'s "quoted".png',
    "100% #1.png",
    "猫/ねこ.png",
    "e\u0301combining.png",
    "\u00e9composed.png",
    "שלום.png",
    "🦊.png",
    "/".join("0123456789") + "/deep.png",
    "x" * 251 + ".png",
    "CASE.png",
    "case.png",
]


@pytest.mark.parametrize("extension", [".bin", ".txt"])
def test_odd_names_are_found_and_kept(make_scene: SceneMaker, extension: str) -> None:
    dataset = ColmapCameraDataset(make_scene(ODD_NAMES, extension=extension))
    assert dataset.names == sorted(ODD_NAMES)
    for index, name in enumerate(dataset.names):
        np.testing.assert_array_equal(image_of(dataset, index), picture(SIZE, ODD_NAMES.index(name)))


@pytest.mark.parametrize(("in_model", "on_disk"), [("e\u0301.png", "\u00e9.png"), ("left\\a.png", "left/a.png")])
def test_names_that_file_systems_change_are_found(make_scene: SceneMaker, in_model: str, on_disk: str) -> None:
    scene = make_scene([in_model], missing=[in_model])
    path = scene / "images" / on_disk
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(picture(SIZE)).save(path)
    assert ColmapCameraDataset(scene).names == [in_model]


@pytest.mark.parametrize("name", ["../x.png", "/etc/passwd", "C:\\x.png", "\\\\host\\x.png", "a/../../x.png", "CON"])
def test_names_that_lead_out_of_the_folder_are_refused(make_scene: SceneMaker, name: str) -> None:
    with pytest.raises(SplatError, match="is refused"):
        ColmapCameraDataset(make_scene([name], missing=[name]))


def test_links_may_lead_out_of_the_folder_when_allowed(make_scene: SceneMaker, tmp_path: Path) -> None:
    scene = make_scene()
    shutil.move(scene / "images" / "b.png", tmp_path / "b.png")
    (scene / "images" / "b.png").symlink_to(tmp_path / "b.png")
    with pytest.raises(SceneError, match="a symbolic link leads outside"):
        ColmapCameraDataset(scene)
    assert len(ColmapCameraDataset(scene, allow_links=True)) == 3


def test_the_folder_itself_may_be_a_link(make_scene: SceneMaker, tmp_path: Path) -> None:
    scene = make_scene()
    shutil.move(scene / "images", tmp_path / "elsewhere")
    (scene / "images").symlink_to(tmp_path / "elsewhere")
    assert len(ColmapCameraDataset(scene)) == 3


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_refused(make_scene: SceneMaker, kind: str) -> None:
    scene = make_scene(missing=["b.png"])
    path = scene / "images" / "b.png"
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    with pytest.raises(SceneError, match=f"'b.png' is refused: it is a {kind}"):
        ColmapCameraDataset(scene)


def test_the_largest_of_several_models_is_used(make_scene: SceneMaker) -> None:
    scene = make_scene()
    model = read_model(scene / "sparse" / "0")
    one = {1: model.images[1]}
    shutil.move(scene / "sparse" / "0", scene / "sparse" / "1")
    write_model(scene / "sparse" / "0", ColmapModel(model.cameras, one, model.points))
    with pytest.warns(UserWarning, match=r"several models .*sparse/1, the largest"):
        assert len(ColmapCameraDataset(scene)) == 3


# Sizes ----------------------------------------------------------------------------------------------------------------


def test_a_picture_one_pixel_larger_scales_the_intrinsics(
    make_scene: SceneMaker, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="gaussian_splatting"):
        dataset = ColmapCameraDataset(make_scene(picture_sizes={"b.png": (41, 31)}))
    camera = dataset[1]
    assert (camera.image_width, camera.image_height) == (41, 31)
    assert camera.K[0, 0].item() == pytest.approx(35 * 41 / 40)
    assert camera.K[1, 2].item() == pytest.approx(14 * 31 / 30)
    assert dataset[0].K[0, 0].item() == 35
    assert "1 of 3 views (the first: b.png) have pictures a pixel larger or smaller" in caplog.text


def test_pictures_larger_than_their_cameras_keep_their_size(make_scene: SceneMaker) -> None:
    dataset = ColmapCameraDataset(make_scene(picture_sizes=dict.fromkeys(("a.png", "b.png", "c.png"), (80, 60))))
    assert dataset[0].K[:2].tolist() == [[70, 0, 42], [0, 72, 28]]
    np.testing.assert_array_equal(image_of(dataset, 0), picture((80, 60), 0))


def test_pictures_of_half_the_size_scale_the_intrinsics(
    make_scene: SceneMaker, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="gaussian_splatting"):
        dataset = ColmapCameraDataset(make_scene(picture_sizes=dict.fromkeys(("a.png", "b.png", "c.png"), (20, 15))))
    assert dataset[0].K[:2].tolist() == [[17.5, 0, 10.5], [0, 18, 7]]
    assert "3 of 3 views (the first: a.png) have pictures of another size than their cameras" in caplog.text


@pytest.mark.parametrize(("size", "message"), [((30, 40), "turned by 90 degrees"), ((40, 22), "another shape")])
def test_pictures_of_another_shape_are_refused(make_scene: SceneMaker, size: tuple[int, int], message: str) -> None:
    with pytest.raises(SceneError, match=rf"b\.png: {size[0]} x {size[1]} pixels, but its camera has .*{message}"):
        ColmapCameraDataset(make_scene(picture_sizes={"b.png": size}))


def test_mixed_cameras_and_sizes(make_scene: SceneMaker) -> None:
    scene = make_scene(picture_sizes={"b.png": (24, 50)})
    cameras = {
        1: ColmapCamera(1, "PINHOLE", 40, 30, (35.0, 36.0, 21.0, 14.0)),
        2: ColmapCamera(2, "SIMPLE_PINHOLE", 24, 50, (30.0, 12.0, 25.0)),
    }
    images = circle_of_images(["a.png", "b.png", "c.png"], [1, 2, 1])
    write_model(scene / "sparse" / "0", ColmapModel(cameras, images, None))
    sizes = [(camera.image_width, camera.image_height) for camera in ColmapCameraDataset(scene)]
    assert sizes == [(40, 30), (24, 50), (40, 30)]


@pytest.mark.parametrize("orientation", [3, 6])
def test_exif_is_not_applied_where_the_stored_pixels_fit(make_scene: SceneMaker, orientation: int) -> None:
    """COLMAP reads pixels as they are stored, so its cameras are those of the stored pixels."""
    scene = make_scene()
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(picture(SIZE, 1)).save(scene / "images" / "b.png", exif=exif)
    with pytest.warns(
        UserWarning, match=r"1 of 3 views \(the first: b\.png\) have pictures that EXIF says are turned; C"
    ):
        dataset = ColmapCameraDataset(scene)
    np.testing.assert_array_equal(image_of(dataset, 1), picture(SIZE, 1))


def test_exif_is_applied_where_only_the_turned_pixels_fit(make_scene: SceneMaker) -> None:
    scene = make_scene()
    exif = Image.Exif()
    exif[274] = 8
    Image.fromarray(np.rot90(picture(SIZE, 1), -1).copy()).save(scene / "images" / "b.png", exif=exif)
    with pytest.warns(UserWarning, match=r"says are turned; they were turned, which fits their cameras"):
        dataset = ColmapCameraDataset(scene)
    np.testing.assert_array_equal(image_of(dataset, 1), picture(SIZE, 1))


@pytest.mark.parametrize(
    ("choice", "size"),
    [({"resolution": 2}, (20, 15)), ({"resolution": 16}, (16, 12)), ({"image_scale": 0.25}, (10, 8))],
)
def test_reduced_cameras_see_the_same(make_scene: SceneMaker, choice: dict, size: tuple[int, int]) -> None:
    scene = make_scene()
    full, reduced = ColmapCameraDataset(scene)[0], ColmapCameraDataset(scene, **choice)[0]
    assert (reduced.image_width, reduced.image_height) == size
    assert reduced.ground_truth_image is not None
    assert reduced.ground_truth_image.shape == (3, size[1], size[0])
    torch.testing.assert_close(reduced.full_proj_transform, full.full_proj_transform)


def test_a_folder_of_reduced_pictures_is_used_and_not_reduced_again(make_scene: SceneMaker) -> None:
    scene = make_scene(["a.png", "b.png", "c.png"])
    (scene / "images_2").mkdir()
    for seed, name in enumerate(["a.png", "b.png"]):
        Image.fromarray(picture((20, 15), seed + 7)).save(scene / "images_2" / name)
    dataset = ColmapCameraDataset(scene, resolution=2)
    np.testing.assert_array_equal(image_of(dataset, 0), picture((20, 15), 7))
    assert dataset.views[2].image_path == scene / "images" / "c.png"
    assert [(view.width, view.height, view.fx) for view in dataset.views] == [(20, 15, 17.5)] * 3


def test_pictures_are_never_enlarged(make_scene: SceneMaker) -> None:
    assert ColmapCameraDataset(make_scene(), resolution=400)[0].image_width == 40


def test_too_many_pixels_are_refused_when_the_scene_is_read(make_scene: SceneMaker) -> None:
    with pytest.raises(SceneError, match=r"a\.png: 40 x 30 = 1200 pixels, more than the limit of 1000"):
        ColmapCameraDataset(make_scene(), limits=PictureLimits(max_pixels=1000))


# Lenses ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODEL_OF_ID.values(), ids=lambda model: model.name)
def test_every_camera_model_is_undistorted_or_refused_with_the_commands(make_scene: SceneMaker, model: object) -> None:
    name, parameters = model.name, model.parameters  # pyright: ignore[reportAttributeAccessIssue]
    values = {"f": 35.0, "fx": 35.0, "fy": 36.0, "cx": 20.0, "cy": 15.0, "w": 40.0, "h": 30.0, "omega": 0.5}
    scene = make_scene(model=name, params=[values.get(parameter, 0.01) for parameter in parameters])
    if name not in LENS_MODELS:
        with pytest.raises(
            SceneError, match=rf"camera 1 has the model {name}: (.|\n)*colmap image_undistorter (.|\n)*"
        ):
            ColmapCameraDataset(scene)
        return
    camera = ColmapCameraDataset(scene)[1]
    assert camera.ground_truth_image is not None
    assert camera.ground_truth_image.shape == (3, camera.image_height, camera.image_width)
    assert camera.ground_truth_image_mask is None


def test_reduced_pictures_of_a_distorted_lens_are_undistorted_at_their_size(make_scene: SceneMaker) -> None:
    scene = make_scene(size=(400, 300), model="OPENCV", params=(350.0, 360.0, 205.0, 148.0, -0.2, 0.05, 0.001, -0.002))
    full, half = ColmapCameraDataset(scene)[0], ColmapCameraDataset(scene, resolution=2)[0]
    assert half.image_width == round(full.image_width / 2)
    assert full.ground_truth_image is not None
    assert half.ground_truth_image is not None
    smaller = torch.nn.functional.interpolate(
        full.ground_truth_image[None], half.ground_truth_image.shape[1:], mode="area"
    )
    torch.testing.assert_close(half.ground_truth_image, smaller[0], atol=0.02, rtol=0)


# Masks and depths -----------------------------------------------------------------------------------------------------


def write_maps(scene: Path, stems: str = "abc", size: tuple[int, int] = SIZE) -> None:
    (scene / "depths").mkdir(exist_ok=True)
    for index, stem in enumerate(stems):
        Image.new("L", size, 255).save(scene / "images" / f"{stem}_mask.png")
        tifffile.imwrite(scene / "depths" / f"{stem}.tiff", np.full(size[::-1], index + 0.5, np.float32))


def test_masks_and_depths_are_found_beside_the_pictures(
    make_scene: SceneMaker, caplog: pytest.LogCaptureFixture
) -> None:
    scene = make_scene()
    write_maps(scene)
    Image.new("L", SIZE, 0).save(scene / "depths" / "b_mask.png")
    with caplog.at_level(logging.INFO, logger="gaussian_splatting"):
        camera = ColmapCameraDataset(scene)[1]
    assert camera.ground_truth_image_mask is not None
    assert camera.ground_truth_depth is not None
    assert camera.ground_truth_depth_mask is not None
    assert camera.ground_truth_image_mask.unique().tolist() == [1]
    assert camera.ground_truth_depth.unique().tolist() == [1.5]
    assert camera.ground_truth_depth_mask.unique().tolist() == [0]
    assert "3 of 3 views have a mask file" in caplog.text
    assert f"3 of 3 views have a depth map in {scene / 'depths'}" in caplog.text


def test_maps_are_not_loaded_unless_asked(make_scene: SceneMaker) -> None:
    scene = make_scene()
    write_maps(scene)
    camera = ColmapCameraDataset(scene, load_mask=False, load_depth=False)[0]
    assert camera.ground_truth_image_mask is camera.ground_truth_depth is None
    assert camera.ground_truth_image_mask_path is camera.ground_truth_depth_path is None


def test_tiff_masks_win_over_png_masks(make_scene: SceneMaker) -> None:
    scene = make_scene()
    write_maps(scene)
    tifffile.imwrite(scene / "images" / "a_mask.tiff", np.zeros((30, 40), np.float32))
    mask = ColmapCameraDataset(scene)[0].ground_truth_image_mask
    assert mask is not None
    assert not mask.any()


def test_views_without_maps_are_counted_once(make_scene: SceneMaker) -> None:
    scene = make_scene()
    write_maps(scene, "a")
    with pytest.warns(UserWarning) as caught:
        dataset = ColmapCameraDataset(scene)
    messages = [str(warning.message) for warning in caught]
    assert messages == [
        "1 of 3 views have a mask file",
        f"1 of 3 views have a depth map in {scene / 'depths'}",
    ]
    assert dataset[1].ground_truth_image_mask is dataset[1].ground_truth_depth is None


def test_maps_of_another_size_are_resized_with_one_warning(make_scene: SceneMaker) -> None:
    scene = make_scene()
    write_maps(scene, size=(20, 15))
    with pytest.warns(UserWarning) as caught:
        camera = ColmapCameraDataset(scene)[2]
    assert [str(warning.message).split(") ")[1][:35] for warning in caught] == [
        "have masks of another size than the",
        "have depth maps of another size tha",
    ]
    assert camera.ground_truth_depth is not None
    assert camera.ground_truth_depth.shape == (30, 40)
    assert camera.ground_truth_depth.unique().tolist() == [2.5]


def test_maps_of_another_shape_are_refused(make_scene: SceneMaker) -> None:
    scene = make_scene()
    write_maps(scene, size=(40, 22))
    with pytest.raises(
        SceneError, match=r"a_mask\.png: 40 x 22 pixels, but its picture has 40 x 30: they do not cover"
    ):
        ColmapCameraDataset(scene)


def test_a_folder_of_depths_that_was_asked_for_must_exist(make_scene: SceneMaker) -> None:
    with pytest.raises(
        SceneError, match=r"scene/mine: no such folder of depth maps; correct the name, or leave it out"
    ):
        ColmapCameraDataset(make_scene(), depths="mine")


def test_depth_scales_are_applied_and_failed_fits_left_out(make_scene: SceneMaker) -> None:
    scene = make_scene()
    (scene / "depths").mkdir()
    for stem in "abc":
        Image.fromarray(np.full((30, 40), 6553, np.uint16)).save(scene / "depths" / f"{stem}.png")
    scales = {"a": {"scale": 10.0, "offset": 0.5}, "b": {"scale": 200.0, "offset": 0.0}, "c": {"scale": 9, "offset": 1}}
    (scene / "sparse" / "0" / "depth_params.json").write_text(json.dumps(scales))
    with pytest.warns(UserWarning) as caught:
        dataset = ColmapCameraDataset(scene)
    assert "1 of 3 views (the first: b.png) have depth scales far from the others" in str(caught[0].message)
    depth = dataset[0].ground_truth_depth
    assert depth is not None
    assert depth.unique().tolist() == pytest.approx([10 * 6553 / 65536 + 0.5])
    assert dataset[1].ground_truth_depth is None


def test_scaled_depths_of_a_real_scene_are_the_inverse_depths_of_its_points(shared_data: Path) -> None:
    scene = shared_data / "lightfield_depth"
    dataset = ColmapCameraDataset(scene)
    xyz = read_colmap_points3D(scene)[0]
    for index, view in enumerate(dataset.views):
        depth = dataset[index].ground_truth_depth
        assert depth is not None
        seen = xyz @ view.R.T + view.T
        pixel = seen[:, :2] / seen[:, 2:] * (view.fx, view.fy) + (view.cx, view.cy)
        inside = (seen[:, 2] > 0) & (pixel >= 0).all(1) & (pixel < (view.width, view.height)).all(1)
        column, row = pixel[inside].astype(int).T
        error = np.abs(depth.numpy()[row, column] * seen[inside, 2] - 1)
        assert np.median(error) < 0.1


def test_damaged_depth_scales_are_named(make_scene: SceneMaker) -> None:
    scene = make_scene()
    write_maps(scene)
    (scene / "sparse" / "0" / "depth_params.json").write_text('{"a": {"scale": "x", "offset": 1}}')
    with pytest.raises(SplatError, match=r'depth_params\.json: a\.scale must be a number; found "x"'):
        ColmapCameraDataset(scene)


# Splits, extents, digests ---------------------------------------------------------------------------------------------


def test_every_eighth_view_of_a_real_scene_is_held_out(shared_data: Path) -> None:
    train = ColmapCameraDataset(shared_data / "fox_colmap", split="train")
    test = ColmapCameraDataset(shared_data / "fox_colmap", split="test")
    assert (len(train), len(test)) == (43, 7)
    assert test.names[:2] == ["0001.jpg", "0012.jpg"]


def test_the_extent_of_a_single_camera_comes_from_the_points(make_scene: SceneMaker) -> None:
    scene = make_scene(["a.png"])
    points = read_points(scene / "sparse" / "0")
    assert points is not None
    dataset = ColmapCameraDataset(scene)
    with pytest.warns(UserWarning, match="the 1 cameras stay at one place"):
        extent = dataset.scene_extent()
    distances = np.linalg.norm(points.xyz - dataset.views[0].center, axis=1)
    assert extent == pytest.approx(1.1 * np.median(distances))
    assert dataset.scene_extent() == extent


def test_cameras_that_turn_on_the_spot_have_an_extent(make_scene: SceneMaker) -> None:
    with pytest.warns(UserWarning, match="the 3 cameras stay at one place"):
        assert ColmapCameraDataset(make_scene(radius=0.0)).scene_extent() > 0


def test_the_digest_follows_cameras_and_names_and_not_the_place(make_scene: SceneMaker, tmp_path: Path) -> None:
    scene = make_scene()
    digest = ColmapCameraDataset(scene).scene_digest()
    shutil.copytree(scene, tmp_path / "moved")
    assert ColmapCameraDataset(tmp_path / "moved").scene_digest() == digest
    assert ColmapCameraDataset(scene, resolution=2).scene_digest() != digest
    assert ColmapCameraDataset(make_scene(folder="wider", radius=3.001)).scene_digest() != digest
    assert ColmapCameraDataset(make_scene(["a.png", "b.png", "d.png"], folder="named")).scene_digest() != digest


def test_moving_a_dataset_keeps_its_cameras(make_scene: SceneMaker) -> None:
    dataset = ColmapCameraDataset(make_scene())
    assert dataset.to("cpu") is dataset
    np.testing.assert_array_equal(image_of(dataset, 0), picture(SIZE, 0))


@pytest.mark.gpu
def test_cameras_on_the_gpu(make_scene: SceneMaker) -> None:
    scene = make_scene()
    write_maps(scene)
    camera = ColmapCameraDataset(scene).to("cuda")[0]
    for name, value in camera._asdict().items():
        assert not isinstance(value, torch.Tensor) or value.device.type == "cuda", name
