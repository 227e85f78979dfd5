"""Every splat format by the name of the file: what reads it, what writes it, and what it can hold."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gaussian_splatting.errors import FormatError, SplatError
from gaussian_splatting.io.compressed_ply import is_compressed, parse_compressed_ply, write_compressed_ply
from gaussian_splatting.io.gaussian_arrays import GaussianArrays, without_unusable
from gaussian_splatting.io.gltf import parse_glb, write_glb
from gaussian_splatting.io.ksplat import parse_ksplat
from gaussian_splatting.io.ply_gaussians import parse_gaussians, write_gaussians
from gaussian_splatting.io.reader import Reader
from gaussian_splatting.io.sog import read_sog
from gaussian_splatting.io.sog_writer import write_sog
from gaussian_splatting.io.splat import parse_splat, write_splat
from gaussian_splatting.io.splat_file import SplatFile
from gaussian_splatting.io.spz import parse_spz
from gaussian_splatting.io.spz_writer import write_spz

__all__ = ["FORMATS", "SplatFile", "SplatFormat", "format_of", "read_splats", "write_splats"]

PathLike = str | os.PathLike[str]
Read = Callable[[PathLike, bool], SplatFile]
Write = Callable[[PathLike, GaussianArrays, bool], None]


@dataclass(frozen=True)
class SplatFormat:
    """One format, known by how the name of a file ends."""

    ending: str
    name: str
    read: Read
    write: Write | None
    sh_degree: int
    """The highest degree of spherical harmonics it can hold."""
    says_antialiased: bool = False
    """Whether its header has room for the anti-aliasing flag."""


def read_splats(path: PathLike, *, strict: bool = False) -> SplatFile:
    """The Gaussians of a splat file of any format in `FORMATS`, in the axes and units of PLY.

    Gaussians that nobody can render are dropped with a warning that counts them, or refused when `strict`. Raises
    `FormatError` for a damaged file, `SplatError` for a name that is of no known format.
    """
    return format_of(path).read(path, strict)


def write_splats(path: PathLike, gaussians: GaussianArrays, *, antialiased: bool = False) -> SplatFormat:
    """Writes Gaussians in the format that the name of the file asks for, and gives that format.

    A lower SH degree is kept as it is; one that the format cannot hold is a `SplatError`. `antialiased` is written
    where the format has room for it.
    """
    chosen = format_of(path)
    if chosen.write is None:
        raise SplatError(f"{os.fspath(path)}: {chosen.name} is only read; write one of {_endings(writable=True)}")
    chosen.write(path, gaussians, antialiased)
    return chosen


def format_of(path: PathLike) -> SplatFormat:
    """The format that the name of a file stands for. Raises `SplatError` for any other name."""
    name = Path(path).name.lower()
    for entry in FORMATS:  # the longest endings first
        if name.endswith(entry.ending):
            return entry
    known = _endings(writable=False)
    raise SplatError(f"{os.fspath(path)}: the name is of no splat format; use a name that ends with one of {known}")


def _endings(*, writable: bool) -> str:
    return ", ".join(entry.ending for entry in FORMATS if entry.write is not None or not writable)


def _read_ply(path: PathLike, strict: bool) -> SplatFile:
    reader = Reader.open(path)
    if is_compressed(reader):
        return parse_compressed_ply(reader, strict=strict)
    return SplatFile(parse_gaussians(reader, strict=strict), "PLY")


def _read_checkpoint(path: PathLike, strict: bool) -> SplatFile:
    """The Gaussians of a checkpoint of a run."""
    from gaussian_splatting.io.checkpoint import read_checkpoint

    checkpoint = read_checkpoint(path)
    names = ("xyz", "f_dc", "f_rest", "opacity", "scaling", "rotation")
    missing = [name for name in names if f"parameter.{name}" not in checkpoint.tensors]
    if missing:
        raise FormatError(f"{os.fspath(path)}: the checkpoint holds no Gaussians: parameter.{missing[0]} is missing")
    arrays = (np.asarray(checkpoint.tensors[f"parameter.{name}"].float().numpy()) for name in names)
    gaussians = GaussianArrays(*arrays)
    settings = checkpoint.description.get("settings")
    said = settings.get("antialiased") if isinstance(settings, dict) else None
    antialiased = said if isinstance(said, bool) else None
    return SplatFile(without_unusable(gaussians, path, strict), "checkpoint", antialiased)


FORMATS: tuple[SplatFormat, ...] = (
    SplatFormat(
        ".compressed.ply", "compressed PLY", _read_ply,
        lambda path, gaussians, _: write_compressed_ply(path, gaussians), sh_degree=3,
    ),
    SplatFormat("meta.json", "SOG folder", lambda path, strict: read_sog(path, strict=strict),
        lambda path, gaussians, antialiased: write_sog(path, gaussians, antialiased=antialiased),
        sh_degree=3, says_antialiased=True,
    ),
    SplatFormat(".safetensors", "checkpoint", _read_checkpoint, None, sh_degree=4),
    SplatFormat(
        ".ksplat", "KSPLAT", lambda path, strict: parse_ksplat(Reader.open(path), strict=strict), None, sh_degree=3,
    ),
    SplatFormat(
        ".splat", "splat", lambda path, strict: parse_splat(Reader.open(path), strict=strict),
        lambda path, gaussians, _: write_splat(path, gaussians), sh_degree=0,
    ),
    SplatFormat(
        ".spz", "SPZ", lambda path, strict: parse_spz(Reader.open(path), strict=strict),
        lambda path, gaussians, antialiased: write_spz(path, gaussians, antialiased=antialiased),
        sh_degree=4, says_antialiased=True,
    ),
    SplatFormat(
        ".sog", "SOG", lambda path, strict: read_sog(path, strict=strict),
        lambda path, gaussians, antialiased: write_sog(path, gaussians, antialiased=antialiased),
        sh_degree=3, says_antialiased=True,
    ),
    SplatFormat(
        ".glb", "glTF", lambda path, strict: parse_glb(Reader.open(path), strict=strict),
        lambda path, gaussians, _: write_glb(path, gaussians), sh_degree=3,
    ),
    SplatFormat(
        ".ply", "PLY", _read_ply, lambda path, gaussians, _: write_gaussians(path, gaussians), sh_degree=4
    ),
)  # fmt: skip
"""All formats, a longer ending before those it ends with."""
