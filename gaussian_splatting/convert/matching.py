"""Matches between pictures, by pycolmap: found and verified in portions, so that a killed conversion goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from gaussian_splatting.convert.devices import device_of
from gaussian_splatting.convert.features import descriptors_of
from gaussian_splatting.convert.pairs import num_common
from gaussian_splatting.convert.worker import Report
from gaussian_splatting.io import storage

FEATURES_PER_LOOK = 256
PORTIONS = 60
_Config = pycolmap.TwoViewGeometryConfiguration
NOT_VERIFIED = (int(_Config.UNDEFINED), int(_Config.DEGENERATE), int(_Config.WATERMARK))
WITH_HOMOGRAPHY = (int(_Config.PLANAR), int(_Config.PANORAMIC), int(_Config.PLANAR_OR_PANORAMIC))
LEAST_INLIERS = 15


def preselect(job: dict[str, Any], report: Report) -> dict[str, Any]:
    """How many of their largest features any two pictures have in common, row by row."""
    with pycolmap.Database.open(job["database"]) as opened:
        ids = {image.name: image.image_id for image in opened.read_all_images()}
        looks = [descriptors_of(opened, ids[file], FEATURES_PER_LOOK) for file in job["files"]]
    similar = np.zeros((len(looks), len(looks)), int)
    for first in range(len(looks)):
        for second in range(first + 1, len(looks)):
            similar[first, second] = similar[second, first] = num_common(looks[first], looks[second])
        report(first + 1, len(looks))
    return {"similar": similar.tolist()}


def run(job: dict[str, Any], report: Report) -> dict[str, Any]:
    """Match the pairs of the job; of every pair that was verified the inliers, and the homography where it fits."""
    pairs: list[tuple[str, str]] = [(first, second) for first, second in job["pairs"]]
    with pycolmap.Database.open(job["database"]) as opened:
        ids = {image.name: image.image_id for image in opened.read_all_images()}
        todo = [(a, b) for a, b in pairs if not opened.exists_two_view_geometry(ids[a], ids[b])]
    before, portion = len(pairs) - len(todo), max(job["threads"] * 4, -(-len(pairs) // PORTIONS))
    report(before, len(pairs))
    for start in range(0, len(todo), portion):
        chosen = todo[start : start + portion]
        _match(job, chosen)
        report(before + start + len(chosen), len(pairs))
    return {"verified": _verified(job["database"])}


def _match(job: dict[str, Any], pairs: list[tuple[str, str]]) -> None:
    listed = Path(job["list"])
    storage.write_text(listed, "".join(f"{first} {second}\n" for first, second in pairs))
    pairing, options = pycolmap.ImportedPairingOptions(), pycolmap.FeatureMatchingOptions()
    pairing.match_list_path = listed
    options.num_threads = job["threads"]
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = job["seed"]
    pycolmap.match_image_pairs(job["database"], options, pairing, verification, device_of(job["device"]))


def _verified(database: str) -> list[dict[str, Any]]:
    found = []
    with pycolmap.Database.open(database) as opened:
        names = {image.image_id: image.name for image in opened.read_all_images()}
        pair_ids, geometries = opened.read_two_view_geometries()
    for pair_id, geometry in sorted(zip(pair_ids, geometries, strict=True), key=lambda item: item[0]):
        config, inliers = int(geometry.config), len(geometry.inlier_matches)
        if config in NOT_VERIFIED or inliers < LEAST_INLIERS:
            continue
        first, second = pycolmap.pair_id_to_image_pair(pair_id)
        entry: dict[str, Any] = {"pair": [names[first], names[second]], "inliers": inliers}
        if config in WITH_HOMOGRAPHY and geometry.H is not None and np.isfinite(geometry.H).all():
            entry["homography"] = np.asarray(geometry.H, float).tolist()
        found.append(entry)
    return found
