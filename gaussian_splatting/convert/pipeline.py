"""The order of a conversion: pictures, features, matches, poses, judgement, straight pictures, scene."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gaussian_splatting.convert import native, publish
from gaussian_splatting.convert.frames import take_frames
from gaussian_splatting.convert.judge import Judgement, judge_matches, judge_model
from gaussian_splatting.convert.masks import Masks, find_masks
from gaussian_splatting.convert.options import ConvertOptions
from gaussian_splatting.convert.photos import Intake, Picture, take_photos
from gaussian_splatting.convert.report import write_report
from gaussian_splatting.convert.running import Runner
from gaussian_splatting.convert.solving import Solver, before
from gaussian_splatting.convert.sources import Sources, default_destination, find_sources, named
from gaussian_splatting.convert.work import Work
from gaussian_splatting.errors import SceneError
from gaussian_splatting.io import storage
from gaussian_splatting.runs.lock import RunLock
from gaussian_splatting.runs.progress import say


@dataclass
class Conversion:
    """One conversion of `source` into the scene folder `destination`; `run` does it, or goes on with it."""

    source: Path
    destination: Path
    options: ConvertOptions = field(default_factory=ConvertOptions)
    masks: str | None = None
    overwrite: bool = False
    show_progress: bool = False
    verbose: bool = False
    say: Callable[[str], None] = say

    def run(self) -> Path:
        """Convert; the folder of the scene. Raises SceneError when the photos give none, and says why."""
        native.require_pycolmap()
        found = find_sources(self.source)
        storage.make_folder(self.destination)
        with RunLock(self.destination):
            work = Work(self.destination)
            publish.require_free(self.destination, found, work, overwrite=self.overwrite)
            work.open(redo=self.overwrite or not publish.is_complete(self.destination))
            runner = Runner(self.options, work.log, self.show_progress, self.verbose)
            self._announce(found)
            intake = self._pictures(found, work, runner)
            solver = Solver(work, runner, intake.pictures, found.is_sequence, self.say)
            features, verified = solver.features(), solver.matches()
            early = judge_matches(intake.pictures, features["features"], verified)
            self._require_good(early, can_accept=bool(verified))
            facts = solver.poses()
            judgement = judge_model(
                facts, intake.pictures, verified, features["priors"], is_sequence=found.is_sequence
            )  # fmt: skip
            for name, reason in judgement.dropped:
                self.say(f"without a pose: {name} ({reason})")
            self._require_good(judgement, can_accept=bool(facts["models"]))
            judgement = replace(judgement, doubts=(*early.doubts, *judgement.doubts))
            self._publish(work, runner, intake, judgement, facts)
        return self.destination

    def _announce(self, found: Sources) -> None:
        if found.photos:
            self.say(f"{found.root}: {len(found.photos)} photos")
        else:
            self.say(f"{found.root}: {named(found.videos, found.root)}")
        if found.ignored:
            self.say(f"{len(found.ignored)} files are neither photos nor videos: {named(found.ignored, found.root)}")

    def _pictures(self, found: Sources, work: Work, runner: Runner) -> Intake:
        masks = Masks(found.root) if found.videos else find_masks(found.root, self.masks)
        stamps = [(str(path), path.stat().st_mtime_ns) for path in masks.used(found.photos)]

        def take() -> dict[str, Any]:
            with runner.bar("frames" if found.videos else "photos") as tick:
                if found.videos:
                    intake = take_frames(found, work.photos, self.options, tick)
                else:
                    intake = take_photos(found, masks, work.photos, work.masks, self.options, tick)
            return {"pictures": [picture.to_dict() for picture in intake.pictures], "left_out": intake.left_out}

        result, known = work.stage(
            "pictures",
            [found.fingerprint(), stamps, self.options.part("cameras", "max_size", "frames")],
            clear=(work.photos, work.masks, work.database, *work.solved),
            left=(work.photos,),
            run=take,
        )
        intake = Intake(tuple(Picture(**entry) for entry in result["pictures"]), result["left_out"])
        if found.videos:
            self.say(f"{len(intake.pictures)} frames, the sharpest of each stretch{before(known)}")
        for name, reason in intake.left_out.items():
            self.say(f"left out: {name}: {reason}")
        if any(picture.masked for picture in intake.pictures):
            self.say(f"{sum(picture.masked for picture in intake.pictures)} photos have masks")
        return intake

    def _require_good(self, judgement: Judgement, *, can_accept: bool) -> None:
        for doubt in judgement.doubts:
            self.say(f"doubtful: {doubt}")
        if judgement.faults and can_accept and self.options.accept:
            for fault in judgement.faults:
                self.say(f"accepted: {fault}")
        elif judgement.faults:
            rest = " (--accept goes on nevertheless)" if can_accept else ""
            raise SceneError(f"{self.source}: no scene: {'; moreover, '.join(judgement.faults)}{rest}")

    def _publish(self, work: Work, runner: Runner, intake: Intake, judgement: Judgement, facts: dict[str, Any]) -> None:
        job = {
            "model": str(work.model),
            "photos": str(work.photos),
            "masks": str(work.masks),
            "names": {picture.file: picture.name for picture in intake.pictures},
            "output": str(work.undistorted),
            "undistort": self.options.undistort,
            "masked": [picture.file for picture in intake.pictures if picture.masked],
        }

        def straighten() -> dict[str, Any]:
            work.remove(work.undistorted)
            return runner.native("undistortion", job, "undistortion")

        result, _ = work.stage("undistortion", self.options.part("undistort"), clear=(), run=straighten)

        def write() -> None:
            if not work.resumes("publish"):
                for path in publish.make_room(self.destination):
                    self.say(f"moved aside: {path.name}")
            with runner.bar("scene") as tick:
                publish.publish(self.destination, work, result, job["names"], undistorted=job["undistort"], tick=tick)
            write_report(self.destination / publish.REPORT, self.source, self.options, work, intake, judgement, facts)

        _, known = work.stage("publish", [], clear=(), run=write)
        work.remove(work.undistorted / publish.IMAGES, work.undistorted / "masks")
        self.say(f"{'the scene is there already' if known else 'scene'}: {self.destination}")


def convert_scene(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str] | None = None,
    options: ConvertOptions | None = None,
    **settings: Any,
) -> Path:
    """Convert photos or a video into a scene that `train` reads; the folder of the scene.

    The settings are fields of `Conversion`. Raises SceneError when no scene can be made of the photos, and says why.
    """
    target = default_destination(source) if destination is None else Path(destination)
    return Conversion(Path(source), target, options or ConvertOptions(), **settings).run()
