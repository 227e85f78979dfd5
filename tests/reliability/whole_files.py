"""Finds files that carry their final name and are not whole."""

from __future__ import annotations

import json
from pathlib import Path

from gaussian_splatting.io.checkpoint import read_checkpoint
from gaussian_splatting.io.ply import read_gaussians


def damage(folder: Path) -> list[str]:
    """The files under a final name that are not whole, and why."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name.endswith(".part"):
            continue
        try:
            require_whole(path)
        except (ValueError, AssertionError) as error:
            found.append(f"{path.name}: {error}")
    return found


def require_whole(path: Path) -> None:
    """Raise ValueError or AssertionError unless a file of a run is whole."""
    match path.suffix:
        case ".safetensors":
            read_checkpoint(path)
        case ".ply":
            read_gaussians(path)
        case ".json":
            json.loads(path.read_bytes())
        case ".jsonl":
            for line in path.read_bytes().splitlines()[:-1]:
                json.loads(line or b"{}")  # a torn line is the last, or was ended before the next
        case ".jpg":
            assert path.read_bytes().endswith(b"\xff\xd9")
        case ".html":
            assert path.read_bytes().rstrip().endswith(b"</html>")
