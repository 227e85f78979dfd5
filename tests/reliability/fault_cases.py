"""What users do wrong, by name: each case is a call that must end in one message. Row H3 keeps the messages."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from input_faults import INFINITE, NAN, Case, arrays, colmap, file, json_files, pictures, scenes, splats
from tiny_scenes import on_a_ring, write_scene
from toy import toy_run, toy_trainer

from gaussian_splatting import evaluate, export, render, train
from gaussian_splatting.dataset.start import parse_init, start_gaussians
from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.io.checkpoint import read_checkpoint
from gaussian_splatting.io.paths import inside
from gaussian_splatting.io.ply import write_gaussians
from gaussian_splatting.io.storage import write_atomically, write_json
from gaussian_splatting.prepare import trainer_class
from gaussian_splatting.rasterizer import cpu, get_backend
from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterView


def cases() -> Iterator[tuple[str, Case]]:
    for part in (colmap, json_files, scenes, pictures, splats, starts, options, commands, runs, renderers, files):
        for name, case in part():
            yield f"{part.__name__}: {name}", case


# Starting, options, commands


def starts() -> Iterator[tuple[str, Case]]:
    for text in ("sfm", "random:0", "random:x", "depth:99999999999", ""):
        yield f"--init {text!r}", lambda _, text=text: parse_init(text)
    yield (
        "a cloud of three points",
        lambda folder: start_gaussians(GaussianModel(0), write_scene(folder / "s"), init_ply=cloud(folder)),
    )
    yield (
        "depth without depth maps",
        lambda folder: start_gaussians(GaussianModel(0), write_scene(folder / "s"), init="depth:100"),
    )


def cloud(folder: Path) -> Path:
    from gaussian_splatting.io.ply import write_point_cloud

    write_point_cloud(folder / "c.ply", np.eye(3))
    return folder / "c.ply"


def options() -> Iterator[tuple[str, Case]]:
    words = {
        "no integer": "densify_interval=x", "half an integer": "densify_interval=1.5", "nan": "opacity_lr=nan",
        "too large": "opacity_lr=1e999", "empty": "densify_interval=", "a list": "opacity_lr=[1]",
        "no choice": "mask_mode=ignor", "below its range": "densify_interval=0", "misspelt": "densify_intervall=5",
        "of another mode": "mcmc_cap_max=5", "code": "opacity_lr=__import__('os')",
    }  # fmt: skip
    for name, word in words.items():
        line = ["-s", "{}/s", "-d", "{}/run", "--mode", "densify", "--quiet", "-i", "2", "-o", word]
        yield f"-o {name}", command(train.main, line)
    yield "an unknown mode", lambda _: trainer_class("bse")
    yield "an unknown trainer", lambda _: trainer_class("base", trainer="nowhere:Class")
    yield "a trainer without a module", lambda _: trainer_class("base", trainer="OpacityResetDensifcationTrainer")
    yield "a class that is no trainer", lambda _: trainer_class("base", trainer="pathlib:Path")
    yield "an unknown feature", lambda _: trainer_class("base", features=["densfy"])


def commands() -> Iterator[tuple[str, Case]]:
    lines: dict[str, list[str]] = {
        "no scene": ["-s", "{}/nowhere", "-d", "{}/run"], "no steps": ["-s", "{}/s", "-d", "{}/run", "-i", "0"],
        "no backend": ["-s", "{}/s", "-d", "{}/run", "--backend", "cpuu"],
        "no device": ["-s", "{}/s", "-d", "{}/run", "--device", "tpu"],
        "a card that is not there": ["-s", "{}/s", "-d", "{}/run", "--device", "cuda:7"],
        "a run folder that is a file": ["-s", "{}/s", "-d", "{}/s/sparse/0/cameras.bin"],
        "an option twice": ["-s", "{}/s", "-d", "{}/run", "-o", "opacity_lr=1", "-o", "opacity_lr=2"],
        "an option without value": ["-s", "{}/s", "-d", "{}/run", "-o", "opacity_lr"],
        "a limit where nothing grows": ["-s", "{}/s", "-d", "{}/run", "--max_gaussians", "9"],
        "no splat": ["-s", "{}/s", "-d", "{}/run", "--load_ply", "{}/no.ply"],
        "no checkpoint": ["-s", "{}/s", "-d", "{}/run", "--resume", "{}/no.safetensors"],
        "too many pixels": ["-s", "{}/s", "-d", "{}/run", "--max_pixels", "10"],
    }  # fmt: skip
    for name, words in lines.items():
        yield f"train, {name}", command(train.main, words)
    yield "render, no run", command(render.main, ["-d", "{}/run"])
    yield "render, no such iteration", command(render.main, ["-d", "{}/made", "-i", "7"])
    yield "evaluate, no run", command(evaluate.main, ["-d", "{}/run"])
    yield "export, no input", command(export.main, ["{}/no.ply", "{}/a.splat"])
    wrong = {
        "an unknown flag": ["--sed", "1"], "an abbreviation": ["--sh_deg", "1"], "a flag twice": ["--seed", "1",
        "--seed", "2"],
        "no number": ["--seed", "x"], "out of range": ["--sh_degree", "7"], "a word": ["more"],
        "negative threads": ["--threads", "0"], "a negative interval": ["--checkpoint_interval", "-1"],
        "two lengths": ["-i", "5", "--epochs", "2"], "no size": ["--max_pixels", "0"],
        "a step before the first": ["--save_iterations", "0"],
    }  # fmt: skip
    for name, words in wrong.items():
        yield f"train, {name}", command(train.main, ["-s", "{}/s", "-d", "{}/run", *words])


def command(main: Callable[[list[str]], int], words: list[str]) -> Case:
    """A command that must end with status 2; what it says is its message."""

    def case(folder: Path) -> Any:
        write_scene(folder / "s", centers=on_a_ring(3))
        (folder / "made/point_cloud/iteration_30").mkdir(parents=True)
        write_gaussians(folder / "made/point_cloud/iteration_30/point_cloud.ply", arrays(0.5))
        return main([word.replace("{}", str(folder)) for word in words])

    return case


# E and F: runs, renderers, files


def runs() -> Iterator[tuple[str, Case]]:
    yield (
        "other options",
        lambda folder: (unfinished(folder), toy_run(folder, make=lambda: toy_trainer(opacity_lr=0.5))),
    )
    yield "another seed", lambda folder: (unfinished(folder), toy_run(folder, make=lambda: toy_trainer(seed=3)))
    yield "shorter", lambda folder: (toy_run(folder), toy_run(folder, 3))
    yield "an old run, never resumed", lambda folder: (toy_run(folder), toy_run(folder, resume="never"))
    yield "a checkpoint that is none", lambda folder: read_checkpoint(file(folder, "a.safetensors", b"x" * 40))
    yield "a pickle", lambda folder: read_checkpoint(file(folder, "a.pth", pickle.dumps({"step": list(range(9))})))
    yield "a missing checkpoint", lambda folder: read_checkpoint(folder / "step_000002.safetensors")
    yield "a cut checkpoint", cut_checkpoint


def unfinished(folder: Path) -> None:
    toy_run(folder, 3)


def cut_checkpoint(folder: Path) -> Any:
    toy_run(folder)
    path = sorted((folder / "checkpoints").glob("step_*"))[-1]
    path.write_bytes(path.read_bytes()[:-100])
    return read_checkpoint(path)


def renderers() -> Iterator[tuple[str, Case]]:
    num = 4
    rows = GaussianParameters(
        torch.rand(num, 3), torch.rand(num, 4), torch.rand(num, 3), torch.rand(num, 1), torch.rand(num, 1, 3),
        torch.rand(num, 3, 3)
    )  # fmt: skip
    view = RasterView(torch.eye(4), torch.eye(3), 8, 6, 1, torch.zeros(3))
    changed = {
        "too few quaternions": {"quats": torch.rand(3, 4)}, "float64": {"means": torch.rand(num, 3).double()},
        "too few coefficients": {"features_rest": torch.rand(num, 2, 3)},
    }  # fmt: skip
    for name, values in changed.items():
        yield name, lambda _, values=values: cpu.render_gaussians(replace(rows, **values), view)
    yield "degree 4", lambda _: cpu.render_gaussians(rows, replace(view, sh_degree=4))
    yield "no backend", lambda _: get_backend("refrence")
    yield (
        "points that are not finite",
        lambda _: GaussianModel(0).create_from_pcd(torch.full((9, 3), NAN), torch.rand(9, 3)),
    )
    yield "no points", lambda _: GaussianModel(0).create_from_pcd(torch.rand(0, 3), torch.rand(0, 3))


def files() -> Iterator[tuple[str, Case]]:
    for name in ("../x", "/etc/passwd", "C:\\x", "CON", "a\0b", ""):
        yield f"name {name!r}", lambda folder, name=name: inside(folder, name)
    yield "a folder in the place of the file", lambda folder: write_atomically(folder, b"x")
    yield "a file in the place of the folder", lambda folder: write_atomically(file(folder, "a", b"") / "b", b"x")
    yield "a name that is too long", lambda folder: write_atomically(folder / ("x" * 300), b"x")
    yield "infinity as JSON", lambda folder: write_json(folder / "a.json", [INFINITE])
