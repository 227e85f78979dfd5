"""From pictures to poses: features, pairs to compare, matches, and the mapper. Each is a stage that is done once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gaussian_splatting.convert import pairs
from gaussian_splatting.convert.photos import Picture
from gaussian_splatting.convert.running import Runner
from gaussian_splatting.convert.work import Work


@dataclass(frozen=True)
class Solver:
    """The stages of pycolmap over the pictures of a work folder; `say` tells what each gave."""

    work: Work
    runner: Runner
    pictures: Sequence[Picture]
    is_sequence: bool
    say: Callable[[str], None]

    def features(self) -> dict[str, Any]:
        """`features` per picture, `cameras`: the camera of each, `priors`: focal lengths known before, per camera."""
        work, options = self.work, self.runner.options
        model = options.model_for(len(self.pictures))
        groups = camera_groups(self.pictures, model)
        job = {
            "database": str(work.database),
            "photos": str(work.photos),
            "masks": str(work.masks),
            "groups": groups,
            "masked": [picture.file for picture in self.pictures if picture.masked],
            "max_features": options.max_features,
        }
        result, known = work.stage(
            "features",
            [model, groups, options.part("max_features", "device")],
            clear=(work.database, *work.solved),
            left=(work.database,),
            run=lambda: self.runner.native("features", job, "features"),
        )
        total, num_cameras = sum(result["features"].values()), len(set(result["cameras"].values()))
        self.say(f"{total} features, {num_cameras} camera{'s'[: num_cameras != 1]} ({model}){before(known)}")
        return result

    def matches(self) -> list[dict[str, Any]]:
        """The pairs that were verified: `pair`, `inliers`, and `homography` where one explains them."""
        work, options = self.work, self.runner.options
        ways = pairs.strategy(options.matcher, len(self.pictures), self.is_sequence)

        def match() -> dict[str, Any]:
            chosen = self._chosen_pairs(ways)
            job = {"database": str(work.database), "list": str(work.folder / "pairs.txt"), "pairs": chosen}
            return {"pairs": len(chosen), **self.runner.native("matching", job, "matches")}

        result, known = work.stage("matches", [ways, options.part("device", "seed")], clear=work.solved, run=match)
        verified = result["verified"]
        self.say(f"{len(verified)} of {result['pairs']} pairs match ({' and '.join(ways)}){before(known)}")
        return verified

    def _chosen_pairs(self, ways: tuple[str, ...]) -> list[list[str]]:
        files = [picture.file for picture in self.pictures]
        lists = []
        for way in ways:
            if way == "preselected":
                job = {"database": str(self.work.database), "files": files}
                lists.append(pairs.preselected(self.runner.native("preselection", job, "preselection")["similar"]))
            else:
                lists.append({"exhaustive": pairs.exhaustive, "sequential": pairs.sequential}[way](len(files)))
        return [[files[first], files[second]] for first, second in pairs.joined(lists)]

    def poses(self) -> dict[str, Any]:
        """Facts about the largest model; `models` is empty when there is none."""
        work, options = self.work, self.runner.options
        job = {
            "database": str(work.database),
            "photos": str(work.photos),
            "models": str(work.models),
            "model": str(work.model),
            "mapper": options.mapper,
            "mapper_threads": options.mapper_threads,
            "num_pictures": len(self.pictures),
        }

        def place() -> dict[str, Any]:
            work.remove(*work.solved)  # a killed mapping begins again
            return self.runner.native("mapping", job, "poses")

        facts, known = work.stage("poses", options.part("mapper", "seed"), clear=work.solved, run=place)
        if facts["models"]:
            self.say(
                f"{len(facts['registered'])} of {len(self.pictures)} photos have a pose, {facts['points']} points, "
                f"reprojection error {facts['error']:.2f} px{before(known)}"
            )
        return facts


def camera_groups(pictures: Sequence[Picture], model: str) -> list[dict[str, Any]]:
    """The pictures by the camera they share, each with its model and the focal length noted, if any."""
    groups: dict[str, list[Picture]] = {}
    for picture in pictures:
        groups.setdefault(picture.camera, []).append(picture)
    return [
        {
            "files": [picture.file for picture in members],
            "model": model,
            "width": members[0].width,
            "height": members[0].height,
            "focal": _middle([picture.focal for picture in members if picture.focal is not None]),
        }
        for members in groups.values()
    ]


def before(known: bool) -> str:
    """What is added to the words of a stage that was done by an earlier process."""
    return " (done before)" if known else ""


def _middle(values: list[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None
