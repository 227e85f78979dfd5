"""The work folder of a conversion: which stages are done, and for which inputs, so that a killed one goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gaussian_splatting.errors import SceneError, SplatError
from gaussian_splatting.io import storage

FOLDER = "distorted"
VERSION = 1


class Work:
    """`<scene>/distorted`: pictures taken in, database, models, and `stages.json`, which says what is done.

    The key of a stage is a digest of what it depends on and of the key of the stage before. A stage whose key is
    recorded is not done again; one whose key changed is, and so are all that follow.
    """

    def __init__(self, destination: Path) -> None:
        self.folder = destination / FOLDER
        self.photos = self.folder / "photos"
        self.masks = self.folder / "masks"
        self.database = self.folder / "database.db"
        self.models = self.folder / "models"
        self.model = self.folder / "sparse" / "0"
        self.undistorted = self.folder / "undistorted"
        self.record = self.folder / "stages.json"
        self.log = self.folder / "log.txt"
        self.solved = (self.models, self.folder / "sparse", self.undistorted)
        self._key = ""
        self._done = self._read()
        self._sealed = False
        self._resumed: set[str] = set()

    def open(self, *, redo: bool) -> None:
        """Make the folder, and remove what a killed process left half written.

        A finished conversion is only changed when `redo` says so; then its last stages are done again.
        """
        storage.ensure_writable_folder(self.folder)
        self._sealed = self.is_done("publish") and not redo
        if self.is_done("publish") and redo:
            self._done = {name: entry for name, entry in self._done.items() if name not in ("undistortion", "publish")}
            self._write()
        for folder in (self.folder, self.photos, self.masks):
            if folder.is_dir():
                storage.remove_leftovers(folder)

    def stage(
        self, name: str, inputs: Any, *, clear: tuple[Path, ...], run: Callable[[], Any], left: tuple[Path, ...] = ()
    ) -> tuple[Any, bool]:
        """The result of a stage (JSON), and whether it was there already.

        When it has to be done, what lies under `clear` is removed first, unless the stage was begun with the same key:
        then it goes on with what is there. A stage of which somebody removed what it `left` is done again, unless the
        scene is finished. Raises SceneError for a finished conversion of other inputs.
        """
        self._key = digest([VERSION, self._key, name, inputs])
        found = self._done.get(name, {})
        begun = found.get("key") == self._key
        if begun and "result" in found and not self._sealed and not all(path.exists() for path in left):
            begun, found = False, {}
        if begun and "result" in found:
            return found["result"], True
        if self._sealed:
            raise SceneError(
                f"{self.folder.parent}: holds a scene of other photos or settings (its {name} would differ); choose "
                "another -d, or give --overwrite to move it aside"
            )
        if begun:
            self._resumed.add(name)
        else:
            self.remove(*clear)
            self._note(name, {"key": self._key})
        started = time.monotonic()
        result = json.loads(json.dumps(run()))
        self._note(name, {"key": self._key, "seconds": round(time.monotonic() - started, 2), "result": result})
        return result, False

    def resumes(self, name: str) -> bool:
        """Whether a stage that is running was begun by an earlier process."""
        return name in self._resumed

    def begun(self, name: str) -> bool:
        """Whether a stage was begun or done by this conversion or an earlier one in this folder."""
        return name in self._done

    def is_done(self, name: str) -> bool:
        """Whether a stage is recorded as done."""
        return "result" in self._done.get(name, {})

    def seconds(self) -> dict[str, float]:
        """Stage -> how long it took, of those that are done."""
        return {name: float(entry["seconds"]) for name, entry in self._done.items() if "seconds" in entry}

    def remove(self, *paths: Path) -> None:
        """Remove files and folders of this work folder."""
        for path in paths:
            assert self.folder in path.parents, path
            try:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise SplatError(f"{path}: cannot be removed: {error.strerror}; check its permissions") from error

    def _note(self, name: str, entry: dict[str, Any]) -> None:
        """Record a stage; what was recorded after it is no longer true."""
        kept = {}
        for other, value in self._done.items():
            if other == name:
                break
            kept[other] = value
        self._done = {**kept, name: entry}
        self._write()

    def _write(self) -> None:
        storage.write_json(self.record, {"version": VERSION, "stages": self._done})

    def _read(self) -> dict[str, dict[str, Any]]:
        from gaussian_splatting.runs.folder import read_json

        if not self.record.is_file():
            return {}
        value = read_json(self.record)
        stages = value.get("stages") if isinstance(value, dict) and value.get("version") == VERSION else None
        if not isinstance(stages, dict) or not all(isinstance(entry, dict) for entry in stages.values()):
            raise SceneError(
                f"{self.record}: not the record of a conversion by this version; remove {self.folder} to start anew"
            )
        return stages


def digest(value: Any) -> str:
    """A digest of a JSON value."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]
