"""Nothing but `io/storage.py` writes files: what would bypass it is found in the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "gaussian_splatting"
STORAGE = PACKAGE / "io" / "storage.py"

# Methods and functions that write a file when they are given its path.
WRITERS = {
    "write_text": 0, "write_bytes": 0, "touch": 0, "savez": 0, "savez_compressed": 0, "savetxt": 0, "tofile": 0,
    "imwrite": 0, "imsave": 0, "save_file": 0, "dump": 1, "write_triangle_mesh": 0,
    "write_point_cloud": 0, "mkstemp": 0, "NamedTemporaryFile": 0, "copyfile": 0, "copy2": 0, "copytree": 0,
    "symlink_to": 0, "mkdir": 0, "makedirs": 0,
}  # fmt: skip
OURS = {"write_text", "write_point_cloud"}  # also the names of functions of ours, when called as plain functions
SAVERS = {"save"}  # of numpy, torch, PIL; our own objects have methods of that name too
SCRATCH = {"video.py": {"complaints.open('wb')"}}  # what ffmpeg says, in a temporary folder; no result
FOREIGN_MODULES = {"np", "numpy", "torch", "image", "picture", "Image", "plt"}


def bypasses(source: str) -> list[str]:
    """The calls that write files, as `line: call`."""
    return [
        f"{node.lineno}: {ast.unparse(node)[:100]}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and writes(node)
    ]


def writes(call: ast.Call) -> bool:
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    owner = ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
    if name == "open":
        return any(set("wax+") & set(mode) for mode in modes(call, is_method=owner not in ("", "os", "io", "gzip")))
    if name in SAVERS and owner in FOREIGN_MODULES:
        return not to_memory(call, 0)
    if name in OURS and owner in ("", "storage", "ply"):
        return False
    return name in WRITERS and owner != "zlib" and not to_memory(call, WRITERS[name])


def modes(call: ast.Call, *, is_method: bool) -> list[str]:
    """The mode given to an `open`, when it is written out; `os.open` has flags, which are looked at as names."""
    if ast.unparse(call.func) == "os.open":
        text = ast.unparse(call)
        writing = any(flag in text for flag in ("O_CREAT", "O_WRONLY", "O_RDWR", "O_TRUNC")) and "devnull" not in text
        return ["w"] if writing else []
    position = 0 if is_method else 1
    given = [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    given += call.args[position : position + 1]
    return [mode.value for mode in given if isinstance(mode, ast.Constant) and is_mode(mode.value)]


def is_mode(value: object) -> bool:
    return isinstance(value, str) and set(value) <= set("rwaxbt+")


def to_memory(call: ast.Call, position: int) -> bool:
    """Whether the call is given a stream instead of a path: names of streams say so."""
    return any(word in ast.unparse(argument) for argument in call.args[position : position + 1] for word in STREAMS)


STREAMS = ("stream", "BytesIO", "buffer", "sys.stdout")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_are_written_only_by_storage(path: Path) -> None:
    if path != STORAGE:
        found = bypasses(path.read_text("utf-8"))
        allowed = SCRATCH.get(str(path.relative_to(PACKAGE)), set())
        assert [call for call in found if call.partition(": ")[2] not in allowed] == []


def test_storage_is_the_one_that_writes() -> None:
    assert bypasses("import os\nos.open('a', os.O_CREAT)") != []


@pytest.mark.parametrize(
    "source",
    [
        "open('a', 'w')",
        "open('a', mode='ab')",
        "path.open('w')",
        "path.open('r+')",
        "Path('a').write_bytes(b'')",
        "path.write_text('')",
        "np.save('a.npy', x)",
        "torch.save(x, 'a.pt')",
        "image.save('a.png')",
        "cv2.imwrite('a.png', x)",
        "tifffile.imwrite('a.tiff', x)",
        "json.dump(x, file)",
        "os.open('a', os.O_WRONLY)",
        "os.makedirs('a')",
        "folder.mkdir(parents=True)",
        "safetensors.torch.save_file(x, 'a')",
        "shutil.copyfile('a', 'b')",
    ],
)
def test_bypasses_are_found(source: str) -> None:
    assert bypasses(source) != []


@pytest.mark.parametrize(
    "source",
    [
        "open('a')",
        "open('a', 'rb')",
        "path.open()",
        "path.open('rb')",
        "Image.open('a.png')",
        "image.save(stream, 'PNG')",
        "tifffile.imwrite(stream, x)",
        "trainer.save('run')",
        "write_text('a', 'b')",
        "os.open('a', os.O_RDONLY)",
    ],
)
def test_reading_and_memory_are_left_alone(source: str) -> None:
    assert bypasses(source) == []
