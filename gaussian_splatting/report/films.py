"""Films of the report: how one view came into being, and a turn around the scene."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

from gaussian_splatting.errors import FormatError
from gaussian_splatting.io.paths import quoted
from gaussian_splatting.rendering.picture_files import Bytes, decode_picture, thumbnail
from gaussian_splatting.runs.folder import RunFolder

FILM_WIDTH = 480  # pixels
LARGEST_FILM = 8_000_000  # bytes of a film that is put in as it is
MILLISECONDS, LAST_MILLISECONDS = 500, 2_000

_KINDS = {".mp4": "video/mp4", ".webp": "image/webp"}
_NAMES = ("turntable", "orbit")


def progress_film(paths: Sequence[Path]) -> str:
    """An `<img>` that plays pictures one after the other; nothing for fewer than two that can be read."""
    pictures: list[Bytes] = []
    for path in paths:
        try:
            pictures.append(thumbnail(decode_picture(path), FILM_WIDTH))
        except FormatError:
            continue
    alike = [picture for picture in pictures if picture.shape == pictures[-1].shape]
    if len(alike) < 2:
        return ""
    source = base64.b64encode(animated_webp(alike)).decode("ascii")
    return f'<img alt="the view while training" src="data:image/webp;base64,{source}">'


def animated_webp(pictures: Sequence[Bytes]) -> bytes:
    """A film of pictures [H, W, 3] that repeats for ever, and rests at its end."""
    from PIL import Image

    first, *rest = (Image.fromarray(picture) for picture in pictures)
    durations = [MILLISECONDS] * len(rest) + [LAST_MILLISECONDS]
    stream = io.BytesIO()
    first.save(stream, "WEBP", save_all=True, append_images=rest, duration=durations, loop=0, quality=75, method=2)
    return stream.getvalue()


def turntable(folder: RunFolder) -> str:
    """The newest film of a turn around the scene that the run folder holds, or how to make one."""
    found = [path for name in _NAMES for kind in _KINDS for path in folder.path.glob(f"{name}*{kind}")]
    films = sorted((path for path in found if path.is_file()), key=lambda path: (path.stat().st_mtime, path.name))
    if not films:
        if not folder.iterations():
            return ""
        command = f"python -m gaussian_splatting.video -d {quoted(folder.path)}"
        return f'<div class="card note">No turntable yet: <code>{escape(command)}</code> makes one.</div>'
    path = films[-1]
    if path.stat().st_size > LARGEST_FILM:
        name = escape(path.name)
        return f'<div class="card note">A turntable too large for this page: <a href="{name}">{name}</a></div>'
    source = f"data:{_KINDS[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
    if path.suffix == ".webp":
        return f'<img alt="turntable" src="{source}">'
    return f'<video src="{source}" autoplay loop muted playsinline controls></video>'
