"""Damaged splat files of every format: row D7. Whatever the bytes, Gaussians that can be rendered or a `SplatError`."""

from __future__ import annotations

import gzip
import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from mutations import MEMORY_ABOVE_FILE, Damage, bounded_memory, bounded_time, keep, outcome, peak_of
from splat_samples import random_splats

from gaussian_splatting.errors import FormatError, SplatError
from gaussian_splatting.io.compressed_ply import parse_compressed_ply
from gaussian_splatting.io.formats import write_splats
from gaussian_splatting.io.gaussian_arrays import FIELDS
from gaussian_splatting.io.gltf import parse_glb
from gaussian_splatting.io.ksplat import parse_ksplat
from gaussian_splatting.io.ply import GaussianArrays
from gaussian_splatting.io.reader import Reader
from gaussian_splatting.io.sog import parse_sog
from gaussian_splatting.io.splat import parse_splat
from gaussian_splatting.io.splat_file import SplatFile
from gaussian_splatting.io.spz import parse_spz
from gaussian_splatting.io.zip_bundle import ZipBundle

NUM_CASES = 50_000
FRAGMENTS = (
    b"0", b"-1", b"1e999", b"1e30", b"4294967296", b"99999999999999999999", b"null", b"true", b"[]", b"{}", b'"a"',
    b"[0]", b'"../x"', b'{"extensions":{"a":1}}', b'"matrix":[1,0,0,0,0,1,0,0,0,0,1,0,9,9,9,1],', b'"scale":[2,2,2],',
    b",", b'"',
    b"element vertex 1000000000\n", b"element chunk 0\n", b"property float x\n", b"property uint packed_color\n",
)  # fmt: skip


def written(folder: Path, ending: str) -> list[bytes]:
    files = []
    for number, degree in ((3, 0), (2, 1), (5, 0)):
        write_splats(folder / f"a{ending}", random_splats(number, degree, seed=number))
        files.append((folder / f"a{ending}").read_bytes())
    return files


def ksplat(level: int, degree: int) -> bytes:
    """Three Gaussians: a full bucket of two, and a partial one."""
    header = struct.pack("<BBHIIIIHH3fff", 0, 1, 0, 1, 1, 3, 3, level, 0, 0, 0, 0, -1.5, 1.5).ljust(4096, b"\0")
    section = struct.pack("<IIIIfHHIIIIH", 3, 3, 2, 2, 5.0, 12, 0, 32767, 0, 1, 1, degree).ljust(1024, b"\0")
    real, coefficient = ("<f4", "<f4") if level == 0 else ("<f2", "<f2" if level == 1 else "u1")
    centre = "<f4" if level == 0 else "<u2"
    rest = (3 * ((degree + 1) ** 2 - 1),)
    layout = [("c", centre, 3), ("s", real, 3), ("q", real, 4), ("rgba", "u1", 4), ("rest", coefficient, rest)]
    rows = np.ones(3, np.dtype(layout))
    buckets = struct.pack("<I", 1) + np.arange(6, dtype="<f4").tobytes()
    return header + section + buckets + rows.tobytes()


def spz_old(version: int) -> bytes:
    """Two Gaussians of SH degree 1, not compressed."""
    widths = (6 if version == 1 else 9) + 1 + 3 + 3 + (3 if version < 3 else 4) + 9
    return b"NGSP" + struct.pack("<IIBBBB", version, 2, 1, 12, 1, 0) + bytes(range(2 * widths))


def parser(parse: Callable[[Reader], SplatFile]) -> Callable[[bytes], SplatFile]:
    return lambda data: parse(Reader(data, "damaged.x"))


def parse_zipped(data: bytes) -> SplatFile:
    return parse_sog("damaged.x", ZipBundle(Reader(data, "damaged.x")).read)


def check(data: bytes, parse: Callable[[bytes], SplatFile]) -> bool:
    """Whether the file is accepted; anything else than Gaussians that can be rendered or a refusal is a fault."""
    try:
        found = outcome(parse, data)
        if isinstance(found, SplatError):
            assert "damaged.x" in str(found)
            return False
        gaussians = found.gaussians
        for name in FIELDS:
            assert np.isfinite(getattr(gaussians, name).sum(dtype=np.float64)), name
        assert len(gaussians) > 0
    except BaseException as escaped:
        raise AssertionError(f"escaped: {escaped!r}: kept as {keep(data)}") from escaped
    return True


def campaign(cases: Iterator[bytes], parse: Callable[[bytes], SplatFile]) -> tuple[int, int]:
    accepted = refused = 0
    with bounded_memory(), bounded_time() as begin, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for data in cases:
            begin()
            if check(data, parse):
                accepted += 1
            else:
                refused += 1
    return accepted, refused


SEEDED = {
    "compressed.ply": (parser(parse_compressed_ply), lambda folder: written(folder, ".compressed.ply")),
    "splat": (parser(parse_splat), lambda folder: written(folder, ".splat")),
    "spz payload": (parser(parse_spz), lambda _: [spz_old(1), spz_old(2), spz_old(3)]),
    "spz": (parser(parse_spz), lambda folder: written(folder, ".spz")),
    "ksplat": (parser(parse_ksplat), lambda _: [ksplat(0, 0), ksplat(1, 1), ksplat(2, 2)]),
    "glb": (parser(parse_glb), lambda folder: written(folder, ".glb")),
    "sog bundle": (parse_zipped, lambda folder: written(folder, ".sog")),
}


def damaged(kind: str, folder: Path, seed: int, number: int) -> Iterator[bytes]:
    with_text = kind in ("compressed.ply", "glb")
    return Damage(SEEDED[kind][1](folder), seed, fragments=FRAGMENTS if with_text else ()).cases(number)


@pytest.mark.parametrize("kind", SEEDED)
def test_damaged_files_are_read_or_refused(kind: str, tmp_path: Path) -> None:
    accepted, refused = campaign(damaged(kind, tmp_path, 7, NUM_CASES), SEEDED[kind][0])
    assert refused > NUM_CASES / 100
    assert accepted > (0 if kind in ("spz", "sog bundle") else NUM_CASES / 100)  # those two have checksums


def sog_parts(folder: Path) -> tuple[dict, dict[str, bytes]]:
    write_splats(folder / "a.sog", random_splats(4, 1, seed=4))
    with zipfile.ZipFile(folder / "a.sog") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    return json.loads(files["meta.json"]), files


def test_damaged_descriptions_of_sog_are_read_or_refused(tmp_path: Path) -> None:
    meta, files = sog_parts(tmp_path)
    first = {key: dict(meta[key]) for key in ("means", "scales", "quats", "sh0")}
    first["means"]["shape"] = [4, 3]
    for key, count in (("scales", 3), ("sh0", 4)):
        first[key] |= {"mins": [0.0] * count, "maxs": [1.0] * count, "codebook": None}
    for book in (meta["scales"], meta["sh0"], meta["shN"]):  # short enough that damage hits other places too
        book["codebook"] = [round(value, 1) for value in book["codebook"]]

    def parse(data: bytes) -> SplatFile:
        return parse_sog("damaged.x", lambda name: data if name == "meta.json" else load(name))

    def load(name: str) -> bytes:
        if name not in files:
            raise FormatError(f"damaged.x: no file {name!r}")
        return files[name]

    seeds = [json.dumps(entry).encode() for entry in (meta, first)]
    accepted, refused = campaign(Damage(seeds, seed=8, fragments=FRAGMENTS).cases(3000), parse)
    assert min(accepted, refused) > 50


def test_damaged_pictures_of_sog_are_read_or_refused(tmp_path: Path) -> None:
    meta, files = sog_parts(tmp_path)
    text = json.dumps(meta).encode()
    for number, name in enumerate(sorted(set(files) - {"meta.json"})):

        def parse(data: bytes, name: str = name) -> SplatFile:
            return parse_sog(
                "damaged.x", lambda key: text if key == "meta.json" else data if key == name else files[key]
            )

        accepted, refused = campaign(Damage([files[name]], seed=number).cases(150), parse)
        assert min(accepted, refused) > 3


def test_damaged_streams_of_spz_are_read_or_refused(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    accepted, refused = campaign(Damage([spz_streams(zstandard)], seed=9).cases(NUM_CASES), parser(parse_spz))
    assert min(accepted, refused) > NUM_CASES / 100


def spz_streams(zstandard) -> bytes:
    parts = [bytes(range(size)) for size in (18, 2, 6, 6, 8, 18)]
    packed = [zstandard.compress(part) for part in parts]
    directory = b"".join(struct.pack("<QQ", len(p), len(part)) for p, part in zip(packed, parts, strict=True))
    return b"NGSP" + struct.pack("<IIBBBBI12x", 4, 2, 1, 12, 0, 6, 32) + directory + b"".join(packed)


@pytest.mark.parametrize("kind", SEEDED)
def test_a_file_cut_at_any_byte_is_refused(kind: str, tmp_path: Path) -> None:
    parse, seeds = SEEDED[kind]
    data = seeds(tmp_path)[1]
    for size in range(0, len(data), 1 if kind != "ksplat" else 7):
        if kind == "splat" and size and size % 32 == 0:
            continue  # whole rows
        assert not check(data[:size], parse), size


# Numbers that lie


@pytest.mark.parametrize("number", [0, 3, 1_000_000, 2**31, 2**32 - 1])
def test_a_count_is_believed_only_with_its_bytes(number: int) -> None:
    word = struct.pack("<I", number)
    plain = spz_old(3)
    files = {
        "spz": (parse_spz, plain[:8] + word + plain[12:]),
        "gzipped spz": (parse_spz, gzip.compress(plain[:8] + word + plain[12:])),
        "ksplat": (parse_ksplat, ksplat(1, 1)[:4096] + word + word + ksplat(1, 1)[4104:]),
        "ksplat header": (parse_ksplat, ksplat(1, 1)[:16] + word + ksplat(1, 1)[20:]),
        "ksplat sections": (parse_ksplat, ksplat(1, 1)[:4] + word + ksplat(1, 1)[8:]),
    }
    for name, (parse, data) in files.items():
        if name.startswith("ksplat") and number == 3 and "sections" not in name:
            continue  # the true number
        with pytest.raises(FormatError):
            parse(Reader(data, "damaged.x"))
        assert peak_of(parser(parse), data) < MEMORY_ABOVE_FILE, name


def test_content_that_is_larger_than_declared_is_never_unpacked(tmp_path: Path) -> None:
    bomb = spz_old(3) + bytes(150 << 20)
    data = gzip.compress(bomb, 1)
    assert peak_of(parser(parse_spz), data) < MEMORY_ABOVE_FILE
    with pytest.raises(FormatError, match="expected the end of the gzip data, found more of it"):
        parse_spz(Reader(data, "damaged.x"))


def test_a_picture_of_one_colour_cannot_claim_a_billion_gaussians(tmp_path: Path) -> None:
    from PIL import Image

    meta, files = sog_parts(tmp_path)
    stream = io.BytesIO()
    Image.new("RGBA", (4000, 4000)).save(stream, "WEBP", lossless=True)
    meta["count"] = 16_000_000
    del meta["shN"]
    content = {"meta.json": json.dumps(meta).encode()} | dict.fromkeys(set(files) - {"meta.json"}, stream.getvalue())
    with pytest.raises(FormatError, match="expected a picture of 16000000 pixels, found .* bytes"):
        parse_sog("damaged.x", content.__getitem__)
    meta["count"] = 4
    content["meta.json"] = json.dumps(meta).encode()
    with pytest.raises(FormatError, match="of 4 pixels or a few more, found 4000 x 4000"):
        parse_sog("damaged.x", content.__getitem__)


def test_an_archive_cannot_unpack_to_more_than_it_says() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("meta.json", bytes(200 << 20))
    data = bytearray(stream.getvalue())
    directory = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, directory + 24, 100)
    assert peak_of(parse_zipped, bytes(data)) < MEMORY_ABOVE_FILE
    with pytest.raises(FormatError):
        parse_zipped(bytes(data))


def test_a_reader_that_trusts_counts_fails_the_same_campaign() -> None:
    def trusting(data: bytes) -> SplatFile:
        number = struct.unpack_from("<I", data, 8)[0]
        return SplatFile(GaussianArrays(*(np.frombuffer(data, "<f4", number) for _ in range(6))), "trusting")

    with pytest.raises(AssertionError, match="escaped") as caught:
        campaign(Damage([spz_old(3)], seed=7).cases(1000), trusting)
    Path(str(caught.value).split("kept as ")[1]).unlink()


@pytest.mark.slow
@pytest.mark.parametrize("kind", SEEDED)
def test_a_million_damaged_files_are_read_or_refused(kind: str, tmp_path: Path) -> None:
    campaign(damaged(kind, tmp_path, 11, 1_000_000), SEEDED[kind][0])
