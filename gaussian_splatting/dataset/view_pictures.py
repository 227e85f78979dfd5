"""From a pose, a lens and a picture file to a view: which size, which lens, which turn; what was odd, with counts."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from gaussian_splatting.dataset.decode import MAX_PIXELS, read_header
from gaussian_splatting.dataset.lenses import Lens
from gaussian_splatting.dataset.sizes import fit_lens, nearly_equal, reduced_picture, require_same_shape
from gaussian_splatting.dataset.undistort import undistorted_pinhole
from gaussian_splatting.dataset.view import AlphaUse, View
from gaussian_splatting.errors import SceneError

_log = logging.getLogger(__name__)
Finding = Literal[
    "slightly",
    "scaled",
    "turned",
    "as stored",
    "undistorted",
    "mask resized",
    "depth resized",
    "mask missing",
    "depth missing",
    "unreliable",
]

_SAID: dict[Finding, tuple[bool, str]] = {
    "slightly": (False, "have pictures a pixel larger or smaller than their cameras; intrinsics were scaled"),
    "scaled": (False, "have pictures of another size than their cameras; intrinsics were scaled"),
    "turned": (True, "have pictures that EXIF says are turned; they were turned, which fits their cameras"),
    "as stored": (
        True,
        "have pictures that EXIF says are turned; COLMAP uses pixels as they are stored, and so do we",
    ),
    "undistorted": (False, "were taken through a distorted lens; their pictures are undistorted when loaded"),
    "mask resized": (True, "have masks of another size than their pictures; they were resized"),
    "depth resized": (True, "have depth maps of another size than their pictures; they were resized"),
    "mask missing": (True, "name a mask that does not exist; they go without it"),
    "depth missing": (True, "name a depth map that does not exist; they go without it"),
    "unreliable": (True, "have depth scales far from the others (a failed fit); their depth is not used"),
}


@dataclass(frozen=True, kw_only=True)
class ViewChoices:
    """What the caller of the dataset chose."""

    load_mask: bool = True
    load_depth: bool = True
    resolution: int | None = None
    image_scale: float | None = None
    strict: bool = False
    max_pixels: int = MAX_PIXELS
    alpha: AlphaUse = "mask"


class Findings:
    """What was found while views were made, said once for each kind with a count instead of once for each view."""

    def __init__(self) -> None:
        self._first: dict[Finding, str] = {}
        self._counts: Counter[Finding] = Counter()

    def add(self, kind: Finding, name: str) -> None:
        """Counts one more view."""
        self._first.setdefault(kind, name)
        self._counts[kind] += 1

    def say(self, num_views: int) -> None:
        """One line in the log for each kind."""
        for kind, count in self._counts.items():
            is_fault, text = _SAID[kind]
            say(is_fault, f"{count} of {num_views} views (the first: {self._first[kind]}) {text}")


def with_picture(
    view: View, lens: Lens, path: Path, is_reduced: bool, choices: ViewChoices, findings: Findings
) -> View:
    """The view with its picture and the intrinsics that fit the picture's size, reduced unless the picture is."""
    header = read_header(path, choices.max_pixels)
    fitted, turn = fit_lens(lens, path, header)
    if fitted is not lens:
        slightly = nearly_equal((fitted.width, fitted.height), (lens.width, lens.height))
        findings.add("slightly" if slightly else "scaled", view.name)
    if header.orientation != 1:
        findings.add("as stored" if turn == 1 else "turned", view.name)
    if fitted.distorted:
        findings.add("undistorted", view.name)
    try:
        pinhole = undistorted_pinhole(fitted)
    except SceneError as error:
        raise SceneError(f"{path}: {error}") from error
    view = replace(
        view,
        **{key: getattr(pinhole, key) for key in ("width", "height", "fx", "fy", "cx", "cy")},
        image_path=path,
        stored_size=(header.width, header.height),
        has_alpha=header.has_alpha,
        alpha=choices.alpha,
        turn=turn,
        lens=fitted if fitted.distorted else None,
    )
    if is_reduced:
        return view
    width, height = reduced_picture(path, (view.width, view.height), choices.resolution, choices.image_scale)
    return view if (width, height) == (view.width, view.height) else view.resized(width, height)


def with_maps(
    view: View,
    maps: tuple[Path | None, Path | None, Path | None],
    choices: ViewChoices,
    findings: Findings,
) -> View:
    """The view with its image mask, its depth map and the mask of that, each covering the stored picture."""
    mask, depth, depth_mask = maps
    _check_map(mask, view, choices, findings, "mask resized")
    _check_map(depth, view, choices, findings, "depth resized")
    _check_map(depth_mask, view, choices, findings, "mask resized")
    return replace(view, image_mask_path=mask, depth_path=depth, depth_mask_path=depth_mask)


def _check_map(path: Path | None, view: View, choices: ViewChoices, findings: Findings, kind: Finding) -> None:
    if path is None or view.stored_size is None:
        return
    header = read_header(path, choices.max_pixels)
    require_same_shape(path, (header.width, header.height), view.stored_size)
    if (header.width, header.height) != view.stored_size:
        findings.add(kind, view.name)


def require_pictures(paths: Mapping[str, Path | None], looked: str, cure: str, strict: bool) -> None:
    """Lists the pictures that do not exist: a warning, or a `SceneError` when none does or when `strict`."""
    missing = [name for name, path in paths.items() if path is None]
    if missing and (strict or len(missing) == len(paths)):
        raise SceneError(
            f"{looked}: {len(missing)} of the {len(paths)} pictures of the model are not there, {listed(missing)}; "
            f"{cure}"
        )
    if missing:
        say(True, f"{len(missing)} of {len(paths)} pictures are not in {looked}, left out: {listed(missing)}")


def say_maps(views: Sequence[View], depths_expected_in: Path | None) -> None:
    """States once how many views have masks and depth maps, when some have or when there is a folder of them."""
    num_masks = sum(view.image_mask_path is not None for view in views)
    num_depths = sum(view.depth_path is not None for view in views)
    if num_masks:
        say(num_masks < len(views), f"{num_masks} of {len(views)} views have a mask file")
    if num_depths or depths_expected_in is not None:
        where = "" if depths_expected_in is None else f" in {depths_expected_in}"
        say(num_depths < len(views), f"{num_depths} of {len(views)} views have a depth map{where}")


def say(is_fault: bool, text: str) -> None:
    """A warning when somebody should look at it, else a line of the log."""
    if is_fault:
        warnings.warn(text, stacklevel=2)
    else:
        _log.info(text)


def listed(names: Sequence[str]) -> str:
    """The first few names."""
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown}, …"
