"""Names out of data files never lead out of their folder: row B2."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from gaussian_splatting.errors import SceneError
from gaussian_splatting.io.paths import below_common_folder, inside

REFUSED = [
    "", ".", "./", "./.", "..", "../x", "a/../../x", "a/..", "..\\x", "a\\..\\..\\x", ".. /x", "a/. ./b", "...", " ",
    "/etc/passwd", "/", "//host/share", "\\\\host\\x", "\\x", "C:\\x", "c:x", "sub/C:x", "C:/x",
    "a\0.jpg", "\0", "CON", "con.jpg", "sub/NUL", "aux .png", "COM1", "lpt9.txt", "a/prn/b.jpg", "CONIN$",
]  # fmt: skip
ACCEPTED = [
    "a.jpg", "sub/b.jpg", "./a.jpg", "a//b.jpg", " leading.jpg", "trailing .jpg ", "a b'\"#%&.jpg", "日本/é.png",
    "é.png", "..a.jpg", "a..jpg", ".hidden", "console.jpg", "com10.jpg", "a\\b.jpg", "12:30.jpg", "🙂.jpg",
    "\u202eabc.jpg",
    "deeper/" * 10 + "x.jpg", "x" * 255,
]  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_names_that_could_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SceneError) as caught:
        inside(tmp_path, name)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}: the name {name!r} is refused: ")
    assert "; " in message


@pytest.mark.parametrize("name", ACCEPTED)
def test_other_names_stay_as_they_are(tmp_path: Path, name: str) -> None:
    assert inside(tmp_path, name) == tmp_path / name
    assert inside(tmp_path, name, must_be_file=True) == tmp_path / name  # nothing is there: the caller will find out


def test_a_long_name_is_shortened_in_the_message(tmp_path: Path) -> None:
    with pytest.raises(SceneError) as caught:
        inside(tmp_path, "/" + "x" * 100_000)
    assert len(str(caught.value)) < 600


def test_a_link_that_leaves_the_folder_is_refused_unless_allowed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").write_text("secret")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path)
    for name in ("out", "folder/secret"):
        with pytest.raises(SceneError, match="a symbolic link leads outside, to .*secret"):
            inside(root, name)
        assert inside(root, name, allow_links=True, must_be_file=True).read_text() == "secret"


def test_a_link_that_stays_inside_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").symlink_to("a")
    assert inside(tmp_path, "b", must_be_file=True).read_text() == "a"


def test_a_root_that_is_a_link_is_a_root(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_text("a")
    (tmp_path / "link").symlink_to("real")
    assert inside(tmp_path / "link", "a", must_be_file=True).read_text() == "a"


def test_a_neighbour_whose_name_begins_alike_is_outside(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "rooted").mkdir()
    (tmp_path / "root" / "x").symlink_to(tmp_path / "rooted")
    with pytest.raises(SceneError, match="leads outside"):
        inside(tmp_path / "root", "x/a")


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(SceneError, match="form a loop"):
        inside(tmp_path, "a")
    with pytest.raises(SceneError, match="cannot be looked up"):
        inside(tmp_path, "a", allow_links=True, must_be_file=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_pipes_folders_and_devices_are_not_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    for name, kind in (("pipe.jpg", "a pipe"), ("folder.jpg", "a folder"), ("zero.jpg", "a device")):
        with pytest.raises(SceneError, match=f"it is {kind}, not a regular file"):
            inside(tmp_path, name, must_be_file=True, allow_links=True)


def test_a_name_longer_than_file_systems_allow_is_refused_when_it_is_looked_up(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="cannot be looked up"):
        inside(tmp_path, "x" * 300, must_be_file=True)


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="cannot be looked up"):
        inside(tmp_path, "\ud800.jpg")


def test_nothing_outside_is_opened_while_names_are_judged(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/etc/passwd")
    opened: list[str] = []
    watching = True

    def hook(event: str, arguments: tuple) -> None:
        if watching and event == "open":
            opened.append(str(arguments[0]))

    sys.addaudithook(hook)
    for name in [*REFUSED, "out"]:
        with pytest.raises(SceneError):
            inside(tmp_path, name, must_be_file=True)
    watching = False
    assert opened == []


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        ([], []),
        (["/s/a.png"], ["a.png"]),
        (["/s/a/1.png", "/s/a/2.png"], ["1.png", "2.png"]),
        (["/s/a/1.png", "/s/b/c/1.png"], ["a/1.png", "b/c/1.png"]),
        (["/s/cam0/1.png", "/s/cam01/1.png"], ["cam0/1.png", "cam01/1.png"]),
    ],
)
def test_names_below_the_common_folder(paths: list[str], names: list[str]) -> None:
    assert below_common_folder([Path(path) for path in paths]) == names
