"""Pieces of HTML: pictures as data URIs, tables, escaped text."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape
from pathlib import Path

from gaussian_splatting.rendering.picture_files import Bytes, encode_picture

LARGEST_EMBEDDED = 400_000  # bytes of a picture file that is put in as it is


def picture(pixels: Bytes, alt: str, *, lossless: bool = False) -> str:
    """An `<img>` that holds its picture [H, W, 3] (or [H, W, 4] when lossless)."""
    return f'<img alt="{escape(alt)}" src="{data_uri(pixels, lossless=lossless)}">'


def data_uri(pixels: Bytes, *, lossless: bool = False) -> str:
    """A picture as a data URI: JPEG, or PNG when lossless."""
    kind = "png" if lossless else "jpeg"
    return _uri(encode_picture(pixels, kind, quality=82), kind)


def picture_file(path: Path, alt: str, width: int) -> str:
    """An `<img>` of a JPEG file, as it is when small, else reduced to `width` pixels."""
    from gaussian_splatting.rendering.picture_files import decode_picture, thumbnail

    if path.stat().st_size <= LARGEST_EMBEDDED // 8:
        return f'<img alt="{escape(alt)}" src="{_uri(path.read_bytes(), "jpeg")}">'
    return picture(thumbnail(decode_picture(path), width), alt)


def table(rows: Iterable[tuple[str, str]]) -> str:
    """A table of two columns of text."""
    cells = (f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{''.join(cells)}</table>"


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
