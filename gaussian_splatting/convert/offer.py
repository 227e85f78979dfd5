"""What `train -s PHOTOS` does: it names the command that makes a scene of them, or runs it when asked to."""

from __future__ import annotations

from pathlib import Path

from gaussian_splatting.convert.pipeline import Conversion
from gaussian_splatting.convert.publish import is_complete
from gaussian_splatting.convert.sources import default_destination, is_convertible
from gaussian_splatting.convert.work import FOLDER
from gaussian_splatting.errors import SceneError
from gaussian_splatting.io.paths import quoted


def scene_of(source: str, *, convert: bool = False, show_progress: bool = False) -> str:
    """The scene to train: `source` itself, or with `convert` the one that its photos or video are converted to.

    Raises SceneError for photos or a video when `convert` is not asked for: converting takes its time, so it never
    begins by itself. What is neither is left to the readers of scenes.
    """
    from gaussian_splatting.dataset.scenes import is_marked

    path = Path(source)
    if path.name == "images" and is_marked(path.absolute().parent):
        return source  # a folder too deep, or below too high: those who read scenes say so
    if path.is_dir() and any(is_marked(inner) for inner in path.iterdir()):
        return source
    destination = default_destination(path)
    # In a folder with input/ the marks of a scene may be those of a conversion that was killed.
    unfinished = destination == path and (path / FOLDER).is_dir() and not is_complete(path)
    if (is_marked(path) and not unfinished) or not is_convertible(path):
        return source
    if convert:
        return str(Conversion(path, destination, show_progress=show_progress).run())
    kind = "a video" if path.is_file() else "photos or videos"
    if destination != path and is_complete(destination):
        raise SceneError(f"{source}: {kind}, not a scene; the scene made of it is there: give -s {quoted(destination)}")
    raise SceneError(
        f"{source}: {kind}, not a scene; make one first: {convert_command(path, destination)} "
        "(or give --convert here, which does that before training)"
    )


def convert_command(source: Path, destination: Path) -> str:
    """The command that converts, as a shell takes it."""
    return f"python -m gaussian_splatting.convert -s {quoted(source)} -d {quoted(destination)}"
