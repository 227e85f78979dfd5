"""A `transforms.json` scene as a dataset of cameras."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from gaussian_splatting.dataset.colmap.files import read_depth_scales
from gaussian_splatting.dataset.dataset import ViewDataset
from gaussian_splatting.dataset.decode import read_header
from gaussian_splatting.dataset.lookup import depth_names, first_file, mask_names
from gaussian_splatting.dataset.pictures import PictureLimits
from gaussian_splatting.dataset.sizes import require_reduction
from gaussian_splatting.dataset.split import Split, require_split, split_indices
from gaussian_splatting.dataset.strict_json import JsonValue
from gaussian_splatting.dataset.transforms.file import Frame, TransformsFile, plain
from gaussian_splatting.dataset.transforms.frames import Part, frames_of_split
from gaussian_splatting.dataset.transforms.intrinsics import lens_of
from gaussian_splatting.dataset.transforms.points import World, to_original, transforms_points
from gaussian_splatting.dataset.view import AlphaUse, View
from gaussian_splatting.dataset.view_pictures import (
    Finding,
    Findings,
    ViewChoices,
    require_pictures,
    say_maps,
    with_maps,
    with_picture,
)
from gaussian_splatting.errors import SceneError

PathLike = str | os.PathLike[str]
EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".PNG", ".JPG", ".JPEG")
"""Tried in this order for a picture that is named without its extension."""
DEPTH_KEYS = ("depth_file_path", "depth_path")
"""What nerfstudio and instant-ngp call the depth map of a frame."""


class TransformsCameraDataset(ViewDataset):
    """The cameras of a nerfstudio, instant-ngp or Blender-synthetic scene, in the order of their picture names.

    `path` is the folder, or the JSON file itself. Intrinsics (`fl_x`, `fl_y`, `cx`, `cy`, `w`, `h`, `camera_angle_x`,
    `k1` ... `p2`, `camera_model`) may be shared or per frame. Pictures of another size than `w` x `h` scale their
    intrinsics; distorted ones are undistorted as they are decoded; missing ones are listed and left out (an error when
    `strict`). Poses become OpenCV's. `world` "file" keeps the world of the poses; "original" undoes
    `applied_transform` and `applied_scale`, which leads back to the world of the reconstruction (COLMAP's).

    An alpha channel lays the picture over the background of the training, whatever its colour, random ones included;
    with `alpha` "mask" it is the image mask instead. `mask_path` is a mask (255 keeps), else `<stem>_mask.tiff|png`.
    `depth_file_path` holds depth, not inverse, in `depth_unit` world units per step (nerfstudio's millimetres; the
    file's own `integer_depth_scale` wins) and becomes inverse depth; where no frame has one,
    `depths/<stem>.tiff|png` is inverse depth as in COLMAP scenes, with `depth_params.json` beside the JSON file.

    Splits: `transforms_train.json` and `transforms_test.json` (or `_val`) when both exist, else `train_filenames` and
    `test_filenames`, else every `llffhold`-th view by name. Raises `SceneError` and `FormatError`.
    """

    def __init__(
        self,
        path: PathLike,
        load_mask: bool = True,
        load_depth: bool = True,
        *,
        split: Split = "all",
        llffhold: int = 8,
        resolution: int | None = None,
        image_scale: float | None = None,
        alpha: AlphaUse = "composite",
        depth_unit: float = 1e-3,
        world: World = "file",
        strict: bool = False,
        allow_links: bool = False,
        limits: PictureLimits | None = None,
    ) -> None:
        limits = limits or PictureLimits()
        self.path = Path(path)
        self.world: World = world
        choices = ViewChoices(
            load_mask=load_mask,
            load_depth=load_depth,
            resolution=resolution,
            image_scale=image_scale,
            strict=strict,
            max_pixels=limits.max_pixels,
            alpha=alpha,
        )
        require_reduction(resolution, image_scale)
        require_split(split, llffhold)
        parts, decided = frames_of_split(self.path, split)
        views = [view for part in parts for view in _Reader(part, choices, depth_unit, world, allow_links).views()]
        order = split_indices([view.name for view in views], "all" if decided else split, llffhold, where=self.path)
        super().__init__([views[index] for index in order], load_mask, load_depth, limits)

    def scene_extent(self) -> float:
        """1.1 times the distance of the farthest camera from their mean; from the points when cameras stay in place."""
        if self._extent is None and self._points is None:
            points = transforms_points(self.path, self.world)
            self._points = None if points is None else points[0]
        return super().scene_extent()


class _Reader:
    """Makes the views of one file."""

    def __init__(self, part: Part, choices: ViewChoices, depth_unit: float, world: World, allow_links: bool) -> None:
        self.file, self.frames = part
        self.choices, self.world, self.allow_links = choices, world, allow_links
        scale = self.file.original_world()[2] if world == "original" else 1.0
        self.depth_unit = _depth_unit(self.file, depth_unit) / scale
        self.findings = Findings()
        usual = self.file.root / "depths"
        named = any(frame.own(*DEPTH_KEYS) is not None for frame in self.frames)
        self.depth_folder = usual if choices.load_depth and not named and usual.is_dir() else None
        scales = self.file.root / "depth_params.json"
        self.scales = read_depth_scales(scales) if self.depth_folder and scales.is_file() else ({}, set())

    def views(self) -> list[View]:
        """The views of the frames that have a picture."""
        paths = {frame.file_path: self._picture(frame) for frame in self.frames}
        require_pictures(
            paths, str(self.file.root), "put them there, or correct the paths in the file", self.choices.strict
        )
        views = [self._view(frame, path) for frame in self.frames if (path := paths[frame.file_path]) is not None]
        self.findings.say(len(views))
        say_maps(views, self.depth_folder)
        return views

    def _view(self, frame: Frame, path: Path) -> View:
        header = read_header(path, self.choices.max_pixels)
        lens = lens_of(frame, (header.width, header.height))
        rotation, center = frame.pose()
        if self.world == "original":
            rotation, center = to_original(self.file, rotation, center)
        name = path.relative_to(self.file.root).as_posix()
        pose = (rotation.T, -rotation.T @ center)
        view = View(name, lens.width, lens.height, 1.0, 1.0, 0.0, 0.0, *pose)
        view = with_picture(view, lens, path, False, self.choices, self.findings)
        mask = self._mask(frame, name) if self.choices.load_mask else None
        if not self.choices.load_depth:
            return with_maps(view, (mask, None, None), self.choices, self.findings)
        return self._with_depth(view, frame, mask)

    def _with_depth(self, view: View, frame: Frame, mask: Path | None) -> View:
        given = self._named(frame, "depth missing", *DEPTH_KEYS)
        if given is not None:
            stored = given.relative_to(self.file.root).as_posix()
            depth_mask = first_file([self.file.root], mask_names(stored), self.allow_links)
            view = with_maps(view, (mask, given, depth_mask), self.choices, self.findings)
            return replace(view, depth_unit=self.depth_unit)
        folders = [] if self.depth_folder is None else [self.depth_folder]
        short = view.name.removeprefix("images/")
        depth = first_file(folders, [*depth_names(view.name), *depth_names(short)], self.allow_links)
        stem = short.rsplit(".", 1)[0]
        if depth is not None and stem in self.scales[1]:
            self.findings.add("unreliable", view.name)
            depth = None
        if depth is None:
            return with_maps(view, (mask, None, None), self.choices, self.findings)
        depth_mask = first_file(folders, [*mask_names(view.name), *mask_names(short)], self.allow_links)
        view = with_maps(view, (mask, depth, depth_mask), self.choices, self.findings)
        return replace(view, depth_scale=self.scales[0].get(stem))

    def _picture(self, frame: Frame) -> Path | None:
        name = plain(frame.file_path)
        return self._find(frame.value["file_path"], [name, *(name + extension for extension in EXTENSIONS)])

    def _mask(self, frame: Frame, name: str) -> Path | None:
        given = self._named(frame, "mask missing", "mask_path")
        return given or first_file([self.file.root], mask_names(name), self.allow_links)

    def _named(self, frame: Frame, finding: Finding, *keys: str) -> Path | None:
        """The file that the frame names; one that is named but missing is counted."""
        value = frame.own(*keys)
        if value is None:
            return None
        path = self._find(value, [plain(value.text())])
        if path is None:
            self.findings.add(finding, frame.file_path)
        return path

    def _find(self, value: JsonValue, names: list[str]) -> Path | None:
        """A file in the folder of the scene; a name that leads elsewhere is refused with its place."""
        try:
            return first_file([self.file.root], names, self.allow_links)
        except SceneError as error:
            raise SceneError(f"{value.path}: {value.where}: {error}") from error


def _depth_unit(file: TransformsFile, default: float) -> float:
    value = file.value.get("integer_depth_scale")
    if value is None or value.value is None:
        return default
    if not value.number() > 0:
        raise value.fault("must be positive")
    return value.number()
