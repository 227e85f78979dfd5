"""Which frames belong to a split, and in which files they stand."""

from __future__ import annotations

import warnings
from pathlib import Path

from gaussian_splatting.dataset.split import Split
from gaussian_splatting.dataset.transforms.file import Frame, TransformsFile, matching, plain, read_transforms
from gaussian_splatting.errors import SceneError

SINGLE = "transforms.json"
TRAIN = "transforms_train.json"
TEST = ("transforms_test.json", "transforms_val.json")
Part = tuple[TransformsFile, tuple[Frame, ...]]


def find_transforms(source: Path) -> list[Path]:
    """The files of a scene: training file and test file when both exist, else one file. `source` may be the file."""
    if source.is_file():
        return [source]
    tests = [source / name for name in TEST if (source / name).is_file()]
    train, single = source / TRAIN, source / SINGLE
    if train.is_file():
        return [train, *tests[:1]]
    if single.is_file():
        return [single]
    raise SceneError(f"{source}: none of {TRAIN}, {SINGLE} is there; give the folder or the file of the scene")


def frames_of_split(source: Path, split: Split) -> tuple[list[Part], bool]:
    """The frames of a split, by file; and whether it is decided, or left to the names of the views.

    A scene of two files is split by them. Else the lists `train_filenames` and `test_filenames` (or `val_filenames`)
    split it; one list leaves the rest to the other. Without lists nothing is decided, and all frames are given.
    """
    files = [read_transforms(path) for path in find_transforms(source)]
    _refuse_twice(files)
    if split == "all":
        seen = {plain(frame.file_path) for frame in files[0].frames}
        rest = [(file, tuple(f for f in file.frames if plain(f.file_path) not in seen)) for file in files[1:]]
        return [(files[0], files[0].frames), *(part for part in rest if part[1])], True
    if len(files) == 2:
        file = files[0 if split == "train" else 1]
        return [(file, file.frames)], True
    listed = _listed_frames(files[0], split)
    return [(files[0], files[0].frames if listed is None else listed)], listed is not None


def _listed_frames(file: TransformsFile, split: Split) -> tuple[Frame, ...] | None:
    """The frames that the lists of the file put in a split; None without lists."""
    train, test = file.filenames("train_filenames"), file.filenames("test_filenames", "val_filenames")
    wanted, other = (train, test) if split == "train" else (test, train)
    if wanted is None and other is None:
        return None
    if wanted is None:
        left = {id(frame) for frame in matching(file.frames, other or [])}
        chosen = [frame for frame in file.frames if id(frame) not in left]
    else:
        chosen = matching(file.frames, wanted)
        num_wanted = len(set(map(plain, wanted)))
        if len(chosen) < num_wanted:
            known = f"{len(chosen)} of the {num_wanted} names in its {split} list"
            warnings.warn(f"{file.path}: only {known} are frames; the others are left out", stacklevel=2)
    if not chosen:
        raise SceneError(f"{file.path}: its lists leave no frame in the {split} split; correct them")
    return tuple(chosen)


def _refuse_twice(files: list[TransformsFile]) -> None:
    """One picture with two poses is a mistake that no training can mend."""
    for file in files:
        seen: dict[str, Frame] = {}
        for frame in file.frames:
            first = seen.setdefault(plain(frame.file_path), frame)
            if first is not frame:
                place = frame.value["file_path"]
                raise place.fault(f"names the same picture as {first.value.where}; leave one of them out")
