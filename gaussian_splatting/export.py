"""Convert splats between formats, merge them, and edit them on the way; `.html` gives a page that shows them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gaussian_splatting.cli import commands, number_flags
from gaussian_splatting.errors import SplatError

if TYPE_CHECKING:
    from gaussian_splatting.io.formats import SplatFile
    from gaussian_splatting.io.gaussian_arrays import GaussianArrays

__all__ = ["export", "main", "read_input"]

_EXAMPLES = """examples:
  %(prog)s out/run scene.sog                          the newest iteration of a run
  %(prog)s a.ply b.spz both.ply --center              two files merged, their middle at the origin
  %(prog)s scene.ply clean.html --clean               a page with a viewer, without floaters
  %(prog)s a.ply b.ply --crop=-1,-1,-1,1,1,1 --transform "rotate:0,90,0 scale:2"
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m gaussian_splatting.export", description=__doc__, epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("inputs", nargs="+", metavar="IN", help="splat files, run folders, or folders with a meta.json")
    parser.add_argument("output", metavar="OUT", help="the file to write; its name tells the format")
    parser.add_argument("-i", "--iteration", type=int, help="the iteration of run folders (default: the newest)")
    edits = parser.add_argument_group("edits, in this order")
    edits.add_argument("--crop", metavar="BOX", help="keep centres within x0,y0,z0,x1,y1,z1 (write --crop=-1,...)")
    edits.add_argument("--clean", action="store_true", help="remove floaters: transparent, oversized, far from others")
    edits.add_argument(
        "--transform", metavar="T", help="16 numbers row by row, or steps: translate:x,y,z rotate:x,y,z scale:s"
    )
    edits.add_argument("--center", action="store_true", help="move the middle (the median) to the origin")
    edits.add_argument(
        "--sh_degree", type=number_flags.harmonics_degree, metavar="0-4", help="cut or fill the harmonics"
    )
    flag = parser.add_mutually_exclusive_group()
    flag.add_argument("--antialiased", dest="antialiased", action="store_true", default=None,
        help="say in the header that training was anti-aliased (default: as the inputs say)")  # fmt: skip
    flag.add_argument("--no_antialiased", dest="antialiased", action="store_false", help="say that it was not")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT when it is there")
    parser.add_argument("--strict", action="store_true", help="refuse Gaussians that nobody can render")
    commands.add_common_flags(parser, device=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the status for the shell."""
    return commands.run_command(export, build_parser(), argv)


def export(arguments: argparse.Namespace) -> None:
    """Everything the command does, as library calls."""
    output = Path(arguments.output)
    is_page = output.suffix.lower() == ".html"
    _check_output(output, arguments, is_page)
    files = [read_input(path, arguments.iteration, strict=arguments.strict) for path in arguments.inputs]
    for path, file in zip(arguments.inputs, files, strict=True):
        commands.say(f"{path}: {file.format}, {len(file)} Gaussians, SH degree {file.gaussians.sh_degree}")
    gaussians = edited(files, arguments)
    antialiased = _antialiased(files, arguments.antialiased)
    if is_page:
        _write_page(output, gaussians, arguments, antialiased)
    else:
        _write_file(output, gaussians, antialiased)


def read_input(path: str | os.PathLike[str], iteration: int | None = None, *, strict: bool = False) -> SplatFile:
    """The Gaussians of a splat file, of a run folder (an iteration, by default the newest), or of an unbundled SOG."""
    import dataclasses

    from gaussian_splatting.io.formats import read_splats
    from gaussian_splatting.runs.folder import RunFolder

    if not Path(path).suffix and not os.path.exists(path):
        raise SplatError(f"{os.fspath(path)}: there is no such file or folder; give a splat file or a run folder")
    if not os.path.isdir(path):
        return read_splats(path, strict=strict)
    if os.path.isfile(os.path.join(path, "meta.json")):
        return read_splats(os.path.join(path, "meta.json"), strict=strict)
    folder = RunFolder(path)
    found = read_splats(folder.point_cloud(folder.resolve(iteration)), strict=strict)
    said = folder.settings().get("antialiased")
    return dataclasses.replace(found, antialiased=said if isinstance(said, bool) else None)


def edited(files: Sequence[SplatFile], arguments: argparse.Namespace) -> GaussianArrays:
    """The Gaussians of all files after the edits that the flags ask for; each is said with what it did."""
    from gaussian_splatting import splat_editing

    gaussians = splat_editing.joined([file.gaussians for file in files])
    if len(files) > 1:
        commands.say(f"merged: {len(gaussians)} Gaussians")
    if arguments.crop is not None:
        corners = splat_editing.parse_numbers(arguments.crop, 6, "crop")
        before, gaussians = len(gaussians), splat_editing.cropped(gaussians, corners[:3], corners[3:])
        commands.say(f"crop: {before - len(gaussians)} removed, {len(gaussians)} left")
    if arguments.clean:
        gaussians, counts = splat_editing.cleaned(gaussians)
        removed = ", ".join(f"{count} {what}" for what, count in counts.items())
        commands.say(f"clean: {removed} removed, {len(gaussians)} left")
    if arguments.transform is not None:
        gaussians = splat_editing.transformed(gaussians, splat_editing.parse_transform(arguments.transform))
    if arguments.center:
        offset = -splat_editing.middle(gaussians)
        gaussians = splat_editing.centred(gaussians)
        commands.say(f"center: moved by {', '.join(f'{value:.4g}' for value in offset)}")
    if arguments.sh_degree is not None:
        gaussians = splat_editing.with_sh_degree(gaussians, arguments.sh_degree)
    return gaussians


def _check_output(output: Path, arguments: argparse.Namespace, is_page: bool) -> None:
    """What can be refused before anything is read."""
    from gaussian_splatting.io.formats import FORMATS, format_of

    if not is_page:
        try:
            chosen = format_of(output)
        except SplatError as error:
            raise SplatError(f"{error}, or .html for a page with a viewer") from error
        if chosen.write is None:
            writable = ", ".join(entry.ending for entry in FORMATS if entry.write is not None)
            raise SplatError(f"{output}: {chosen.name} is only read; write one of {writable}, or .html")
    if output.exists() and not arguments.overwrite:
        raise SplatError(f"{output}: is there already; choose another name, or give --overwrite to replace it")
    if output.exists() and any(os.path.exists(path) and os.path.samefile(path, output) for path in arguments.inputs):
        raise SplatError(f"{output}: is one of the inputs; choose another name")


def _antialiased(files: Sequence[SplatFile], wanted: bool | None) -> bool:
    if wanted is not None:
        return wanted
    said = {file.antialiased for file in files} - {None}
    if len(said) > 1:
        raise SplatError(
            "some inputs were trained with anti-aliasing and some without; give --antialiased or --no_antialiased"
        )
    return said == {True}


def _write_file(output: Path, gaussians: GaussianArrays, antialiased: bool) -> None:
    from gaussian_splatting import splat_editing
    from gaussian_splatting.io.formats import format_of, write_splats

    chosen = format_of(output)
    if gaussians.sh_degree > chosen.sh_degree:
        commands.say(f"SH degree {gaussians.sh_degree} cut to {chosen.sh_degree}: {chosen.name} holds no more")
        gaussians = splat_editing.with_sh_degree(gaussians, chosen.sh_degree)
    if antialiased and not chosen.says_antialiased:
        commands.say(f"{chosen.name} has no room to say that training was anti-aliased: tell the viewer")
    write_splats(output, gaussians, antialiased=antialiased)
    _say_written(output, chosen.name, gaussians)


def _write_page(output: Path, gaussians: GaussianArrays, arguments: argparse.Namespace, antialiased: bool) -> None:
    from gaussian_splatting.html_viewer import first_view, write_page

    # The cameras of a run lie where its Gaussians were.
    is_moved = arguments.transform is not None or arguments.center
    view = first_view(gaussians, None if is_moved else arguments.inputs[0])
    write_page(output, gaussians, view=view, antialiased=antialiased)
    _say_written(output, "a page with a viewer", gaussians)


def _say_written(output: Path, name: str, gaussians: GaussianArrays) -> None:
    size = output.stat().st_size / 1e6
    degree = gaussians.sh_degree
    commands.say(f"written: {output} ({name}, {len(gaussians)} Gaussians, SH degree {degree}, {size:.1f} MB)")


if __name__ == "__main__":
    sys.exit(main())
