"""Whether a reconstruction can be trusted: what is nonsense is refused with advice, what is doubtful is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gaussian_splatting.convert.photos import Picture
from gaussian_splatting.convert.rotation import homography_share, only_rotates

LEAST_SHARE, GOOD_SHARE = 0.4, 0.9
WORST_ERROR, GOOD_ERROR = 2.5, 1.2  # pixels
LEAST_ANGLE, GOOD_ANGLE = 1.0, 3.0  # degrees
LEAST_POINTS = 30
FOCAL_RANGE = (0.2, 12.0)  # longest sides
ASPECT_RANGE, GOOD_ASPECT = (0.8, 1.25), (0.97, 1.03)
PRIOR_RANGE = (0.6, 1.6)
CENTER_RANGE = (0.2, 0.8)
FEW_FEATURES = 200
JUMP = 12.0  # median steps
ROTATION_SHARE = 0.6
"""Share of matches that homographies explain from which rotation is named as the cause of a failure."""

TURNED = (
    "the camera turned on the spot instead of moving: photos from one place do not show how far away anything is. "
    "Walk around the object or along the scene, a step between photos, and keep each part in view of three photos"
)


@dataclass(frozen=True)
class Judgement:
    """`faults` refuse the result, `doubts` are said; `dropped` has the pictures without a pose: name -> reason."""

    faults: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    dropped: tuple[tuple[str, str], ...] = ()


def judge_matches(
    pictures: Sequence[Picture], features: Mapping[str, int], verified: Sequence[Mapping[str, Any]]
) -> Judgement:
    """What can be said before poses are sought."""
    names = {picture.file: picture.name for picture in pictures}
    poor = [names[file] for file, count in features.items() if count < FEW_FEATURES]
    sizes = {picture.file: (picture.width, picture.height) for picture in pictures}
    doubts = []
    if poor:
        doubts.append(f"{len(poor)} photos have few features (dark, blurred, or without texture): {listed(poor)}")
    if not verified:
        cause = "most photos have few features: they are dark, blurred, or show no texture" if (
            len(poor) > len(pictures) / 2
        ) else "neighbouring photos must overlap by two thirds or more"  # fmt: skip
        return Judgement((f"no two photos show the same thing: {cause}; take photos anew, with small steps between",))
    if only_rotates(verified, sizes):
        return Judgement((TURNED,), tuple(doubts))
    return Judgement(doubts=tuple(doubts))


def judge_model(
    facts: Mapping[str, Any],
    pictures: Sequence[Picture],
    verified: Sequence[Mapping[str, Any]],
    priors: Mapping[str, float],
    *,
    is_sequence: bool,
) -> Judgement:
    """The judgement of a model by the facts that the mapper gave."""  # fmt: skip
    sizes = {picture.file: (picture.width, picture.height) for picture in pictures}
    if not facts["models"]:
        if only_rotates(verified, sizes, ROTATION_SHARE):
            return Judgement((TURNED,))
        share = homography_share(verified)
        hint = f"; {share:.0%} of the matches lie in one plane or at infinity" if share > 0.5 else ""
        return Judgement((
            f"no pose could be found for any photo, though {len(verified)} pairs match{hint}; take more photos with "
            "larger overlap and steps to the side, or try --mapper global",
        ))  # fmt: skip
    checks = [
        _share(facts, pictures), _error(facts), _angle(facts, verified, sizes), _points(facts),
        *(_camera(camera, priors.get(key)) for key, camera in facts["cameras"].items() if _is_used(facts, key)),
        *(_jumps(facts, pictures) if is_sequence else ()),
    ]  # fmt: skip
    faults = tuple(text for is_fault, text in filter(None, checks) if is_fault)
    doubts = tuple(text for is_fault, text in filter(None, checks) if not is_fault)
    return Judgement(faults, doubts, tuple(dropped(facts, pictures, verified)))


Check = tuple[bool, str] | None
"""Whether it is a fault, and the words; None when all is well."""


def dropped(
    facts: Mapping[str, Any], pictures: Sequence[Picture], verified: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str]]:
    """The pictures without a pose, each with its likely reason."""
    registered, others = facts["registered"], {file for files in facts.get("others", ()) for file in files}
    found = []
    for picture in pictures:
        if picture.file in registered:
            continue
        pairs = [entry for entry in verified if picture.file in entry["pair"]]
        seen = [entry for entry in pairs if set(entry["pair"]) & registered.keys()]
        if picture.file in others:
            reason = "belongs to another part, which does not connect"
        elif not pairs:
            reason = "matches no other photo"
        elif not seen:
            reason = "matches only photos that are left out too"
        else:
            reason = f"matches {len(seen)} photos, too few points for a pose"
        found.append((picture.name, reason))
    return found


def _share(facts: Mapping[str, Any], pictures: Sequence[Picture]) -> Check:
    placed, total, models = len(facts["registered"]), len(pictures), facts["models"]
    text = f"{placed} of {total} photos have a pose"
    if len(models) > 1:
        text += f"; the rest fell into {len(models) - 1} other parts ({', '.join(map(str, models[1:]))} photos)"
    cure = "add photos that connect the parts" if len(models) > 1 else "take photos with more overlap"
    if placed < 3 or placed < LEAST_SHARE * total:
        return True, f"only {text}; {cure}, or try --mapper global or --matcher exhaustive"
    return (False, f"{text}; {cure}") if placed < GOOD_SHARE * total else None


def _error(facts: Mapping[str, Any]) -> Check:
    error = facts["error"]
    if not error <= WORST_ERROR:
        return True, (
            f"the points miss their features by {error:.2f} pixels on average (good: below {GOOD_ERROR}); another "
            "--camera_model may fit the lens, for example OPENCV_FISHEYE for a wide one"
        )
    return (False, f"mean reprojection error of {error:.2f} pixels (good: below {GOOD_ERROR})") if (
        error > GOOD_ERROR
    ) else None  # fmt: skip


def _angle(
    facts: Mapping[str, Any], verified: Sequence[Mapping[str, Any]], sizes: Mapping[str, tuple[int, int]]
) -> Check:
    angle = facts["angle"]
    text = f"rays meet at {angle:.2f} degrees in the median (good: above {GOOD_ANGLE:.0f})"
    if angle < GOOD_ANGLE and only_rotates(verified, sizes, ROTATION_SHARE):
        return True, f"{text}: {TURNED}"
    if angle < LEAST_ANGLE:
        return True, f"{text}: the camera hardly moved; take photos with larger steps between them"
    return (False, f"{text}: depth is uncertain; photos from places further apart would help") if (
        angle < GOOD_ANGLE
    ) else None  # fmt: skip


def _points(facts: Mapping[str, Any]) -> Check:
    if facts["points"] < LEAST_POINTS:
        return True, f"only {facts['points']} points; the photos need more texture, light or overlap"
    return None


def _is_used(facts: Mapping[str, Any], key: str) -> bool:
    return any(str(entry["camera"]) == key for entry in facts["registered"].values())


def _camera(camera: Mapping[str, Any], prior: float | None) -> Check:
    side = max(camera["width"], camera["height"])
    fx, fy = camera["fx"], camera["fy"]
    focal, aspect = float(np.sqrt(max(fx * fy, 0.0))) / side, fx / fy if fy else np.inf
    text = f"camera {camera['width']} x {camera['height']} ({camera['model']})"
    cure = "give a simpler --camera_model (SIMPLE_RADIAL), --single_camera, or more photos"
    if not FOCAL_RANGE[0] <= focal <= FOCAL_RANGE[1] or camera["bogus"]:
        return True, f"{text}: a focal length of {focal:.2f} picture sides, or a distortion, that no lens has; {cure}"
    if not ASPECT_RANGE[0] <= aspect <= ASPECT_RANGE[1]:
        return True, f"{text}: fx / fy is {aspect:.2f}, pixels are square; {cure}"
    centers = (camera["cx"] / camera["width"], camera["cy"] / camera["height"])
    if not all(CENTER_RANGE[0] <= center <= CENTER_RANGE[1] for center in centers):
        return True, f"{text}: its axis lies at {centers[0]:.2f}, {centers[1]:.2f} of the picture; {cure}"
    if prior is not None and not PRIOR_RANGE[0] <= focal * side / prior <= PRIOR_RANGE[1]:
        return False, f"{text}: focal length {focal * side:.0f} pixels, but the photos note {prior:.0f}"
    if not GOOD_ASPECT[0] <= aspect <= GOOD_ASPECT[1]:
        return False, f"{text}: fx / fy is {aspect:.3f}, pixels are usually square"
    return None


def _jumps(facts: Mapping[str, Any], pictures: Sequence[Picture]) -> list[Check]:
    """Places where the path of a film leaps: its parts are joined wrongly, or frames between them are missing."""
    placed = [picture for picture in pictures if picture.file in facts["registered"]]
    if len(placed) < 6:
        return []
    centers = np.array([facts["registered"][picture.file]["center"] for picture in placed])
    steps = np.linalg.norm(np.diff(centers, axis=0), axis=1)
    typical = float(np.median(steps))
    leaps = [
        index for index, step in enumerate(steps) if step > JUMP * max(typical, 1e-12) and _same_film(placed, index)
    ]
    if not leaps:
        return []
    places = listed([f"{placed[index].name} to {placed[index + 1].name}" for index in leaps], 4)
    is_fault = len(leaps) > 0.1 * len(steps)
    cure = "film without cuts and more slowly there, or take more --frames"
    return [(is_fault, f"the path of the camera leaps at {len(leaps)} places ({places}); {cure}")]


def _same_film(pictures: Sequence[Picture], index: int) -> bool:
    return pictures[index].name.rpartition("/")[0] == pictures[index + 1].name.rpartition("/")[0]


def listed(names: Sequence[str], shown: int = 12) -> str:
    """Names for a message."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
