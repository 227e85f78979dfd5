"""What decides the bits of a run: recorded in every checkpoint, and compared before a run goes on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gaussian_splatting import environment
from gaussian_splatting.camera import PATH_KEYS, SOURCE_KEYS
from gaussian_splatting.errors import CheckpointError
from gaussian_splatting.io.reader import read_content
from gaussian_splatting.options import Options, flat_options
from gaussian_splatting.rasterizer import resolve_backend
from gaussian_splatting.runs.determinism import MKL_BRANCH

if TYPE_CHECKING:
    from gaussian_splatting.dataset.dataset import CameraDataset
    from gaussian_splatting.trainer.base import BaseTrainer

DECISIVE_LIBRARIES = ("torch", "numpy", "numba", "gsplat")
MOST_LISTED_VIEWS = 5_000
MOST_SHOWN = 8


def describe(trainer: BaseTrainer, cameras: CameraDataset, iterations: int, schedule_length: int) -> dict[str, Any]:
    """The settings, the scene and the machine of a run as plain JSON values, without times, hosts or absolute paths.

    `schedule_length` is the length that step numbers were scaled to; it stays what it was when a run is made longer.
    """
    model, device = trainer.model, trainer.model.get_xyz.device
    settings = {
        "seed": trainer.seed,
        "features": features(type(trainer)),
        "model": type(model).__name__,
        "sh_degree": model.max_sh_degree,
        "antialiased": model.antialiasing,
        "background": cameras.geometry(0).bg_color.tolist(),
        **{name: entry.default for name, entry in flat_options(trainer.options).items()},
    }
    if model.radius_clip:
        settings["radius_clip"] = model.radius_clip
    if model.sparse_grad:
        settings["sparse_grad"] = True
    versions = environment.versions()
    machine = {
        "device": device.type,
        "backend": resolve_backend(model.backend, device),
        "threads": torch.get_num_threads(),
        "instruction set": torch.backends.cpu.get_cpu_capability(),
        MKL_BRANCH: os.environ.get(MKL_BRANCH, "not set"),
        **{name: versions[name] for name in ("gaussian_splatting", *DECISIVE_LIBRARIES) if name in versions},
    }
    if trainer.workers.size > 1:
        machine["processes"] = trainer.workers.size
    if trainer.workers.sharded:
        machine["sharded"] = True
    found = {
        "trainer": type(trainer).__name__,
        "iterations": iterations,
        "schedule_length": schedule_length,
        "settings": settings,
        "scene": describe_scene(cameras),
        "machine": machine,
    }
    return json.loads(json.dumps(found))  # so that it compares equal to what comes back from a file


def features(cls: type) -> list[str]:
    """The classes that act in a trainer, by module and name, in an order that does not depend on theirs.

    A class that only lists others, or gives options other values, is none of them.
    """
    return sorted(
        f"{owner.__module__}.{owner.__qualname__}"
        for owner in cls.__mro__
        if owner is not object
        and any(not (name.startswith("__") or isinstance(member, Options)) for name, member in vars(owner).items())
    )


def describe_scene(cameras: CameraDataset) -> dict[str, Any]:
    """One line per view (name, size, digest of camera and pictures) and a digest of all; paths do not count."""
    views = []
    for index, (name, entry) in enumerate(zip(cameras.names, cameras.json_entries(), strict=True)):
        digest = hashlib.sha256(_geometry(entry))
        for part in _pictures(cameras, index, entry):
            digest.update(part)
        views.append([name, f"{entry['width']}x{entry['height']}", digest.hexdigest()[:16]])
    whole = hashlib.sha256(json.dumps(views).encode()).hexdigest()
    return {"digest": whole, "count": len(views), "views": views if len(views) <= MOST_LISTED_VIEWS else []}


def _geometry(entry: Mapping[str, Any]) -> bytes:
    numbers = [entry[key] for key in ("width", "height", "fx", "fy", "cx", "cy")]
    numbers += entry["position"] + [number for row in entry["rotation"] for number in row]
    # Six digits: the last bits of a pose depend on the processor and on the way through JSON.
    rounded = [f"{float(number):.6g}" for number in numbers]
    return json.dumps([rounded, {key: entry[key] for key in SOURCE_KEYS if key in entry}], sort_keys=True).encode()


def _pictures(cameras: CameraDataset, index: int, entry: Mapping[str, Any]) -> Iterable[bytes]:
    """A digest for each picture of a view: of its file, or of its pixels where there is none."""
    geometry = cameras.geometry(index)
    loaded = None
    for key in PATH_KEYS:
        path = getattr(geometry, key)
        if path is not None:
            yield hashlib.sha256(read_content(Path(path))).digest()
            continue
        if entry.get(PATH_KEYS[0]) is None:
            loaded = cameras[index] if loaded is None else loaded
            pixels = getattr(loaded, key.removesuffix("_path"))
            if pixels is not None:
                yield hashlib.sha256(pixels.detach().cpu().contiguous().numpy()).digest()
                continue
        yield b"none"


def compare(stored: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> list[str]:
    """What the user should know before this run goes on: differences that are allowed but may change the result.

    Raises CheckpointError that shows both values of everything that decides the result and differs.
    """
    differences = _setting_differences(_part(stored, "settings", path), now["settings"])
    differences += _scene_differences(_part(stored, "scene", path), now["scene"])
    if differences:
        shown = differences[:MOST_SHOWN]
        if len(differences) > MOST_SHOWN:
            shown.append(f"and {len(differences) - MOST_SHOWN} more")
        raise CheckpointError(
            f"{path}: belongs to a run with other settings (in the checkpoint -> now):\n  " + "\n  ".join(shown) + "\n"
            f"{_way_on(stored, now)}, choose another -d, or give --overwrite to start anew"
        )
    machine = _part(stored, "machine", path)
    before, after = ({"processes": 1, "sharded": False, **known} for known in (machine, now["machine"]))
    changed = [
        f"{name} {_shown(before.get(name))} -> {_shown(after.get(name))}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    if not changed:
        return []
    effect = "the result may differ in its last bits"
    if before["processes"] != after["processes"]:
        effect = "a step has as many views as there are processes, so the result will differ"
    return [f"{', '.join(changed)} since the checkpoint was written: {effect}"]


def _way_on(stored: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    before, after = stored["settings"], now["settings"]
    gone = [name for name in before if name not in after] if before.get("features") == after["features"] else []
    if not gone:
        return "give the settings of that run to go on with it"
    return f"this version has no option {', '.join(gone[:3])}: go on with the version that began the run"


def _setting_differences(stored: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    if stored.get("features") != now["features"]:
        before, after = set(map(str, stored.get("features") or [])), set(now["features"])
        gone, new = (", ".join(sorted(names)) or "none" for names in (before - after, after - before))
        # Other features bring other options; listing those too would hide the cause.
        own = [name for name in now if name in stored and name != "features" and stored[name] != now[name]]
        return [f"features: only in the checkpoint {gone}; only now {new}"] + [_line(n, stored, now) for n in own]
    names = [*now, *(name for name in stored if name not in now)]
    return [_line(name, stored, now) for name in names if stored.get(name) != now.get(name)]


def _line(name: str, stored: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return f"{name}: {_shown(stored.get(name, 'absent'))} -> {_shown(now.get(name, 'absent'))}"


def _scene_differences(stored: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    if stored.get("digest") == now["digest"]:
        return []
    if stored.get("count") != now["count"]:
        known, present = _names(stored), _names(now)
        lines = [f"number of views: {_shown(stored.get('count'))} -> {now['count']}"]
        lines += [f"view {name!r} is missing now" for name in sorted(known - present)[:2]]
        return lines + [f"view {name!r} is new" for name in sorted(present - known)[:2]]
    for number, (before, after) in enumerate(zip(stored.get("views") or [], now["views"], strict=False)):
        if before == after:
            continue
        if before[0] != after[0]:
            return [f"view {number}: {_shown(before[0])} -> {_shown(after[0])}"]
        if before[1] != after[1]:
            return [f"size of view {after[0]!r}: {_shown(before[1])} -> {after[1]}"]
        return [f"view {after[0]!r}: its pose, its picture or its maps have changed"]
    return [f"digest of the scene: {_shown(stored.get('digest'))} -> {_shown(now['digest'])}"]


def _names(scene: Mapping[str, Any]) -> set[str]:
    return {str(view[0]) for view in scene.get("views") or []}


def _part(stored: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    found = stored.get(name)
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{path}: its description has no {name}; it was not written by this package's training")
    views = found.get("views", [])
    if not (isinstance(views, list) and all(isinstance(view, list) and len(view) == 3 for view in views)):
        raise CheckpointError(f"{path}: the views in its description are not triples; it was not written by training")
    return found


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
