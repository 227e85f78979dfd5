"""How much of what bad cameras or exposures cost was won back: a table over runs, measured against the true scene.

    python tools/measure_recovery.py --truth scene --clean out/clean --perturbed out/worse --recovered out/cameras

The runs were trained with `--eval`: `--clean` on the true scene, the others on a copy that `tools/perturb_scene.py`
made and whose held-out views are true. Of every run the table has

    turned, moved   median error of the training cameras against the truth, in degrees and in percent of the extent,
                    after the similarity that fits the camera centres best (Umeyama 1991)
    as is           PSNR of the held-out views at their true poses, as gsplat measures
    refined         PSNR at poses that were brought into the frame of the run by that similarity and then refined on
                    their photos while the Gaussians stay fixed, as BARF measures (Lin et al. 2021): what is left of a
                    motion of all cameras together, which no training picture can tell, does not count. Every run is
                    treated alike, the clean one too
    affine          PSNR at the true poses after the affine map of colours that fits each photo best: what is left of a
                    tint of the whole scene does not count
    both            PSNR at the refined poses after such a map

and below it how much of the loss of the perturbed run the recovered one regains.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gaussian_splatting.cli import commands
from gaussian_splatting.errors import SplatError
from gaussian_splatting.evaluate import aligned as columns
from gaussian_splatting.trainer.gauge import Similarity

if TYPE_CHECKING:
    from gaussian_splatting.dataset.dataset import CameraDataset
    from gaussian_splatting.gaussian_model import GaussianModel
    from gaussian_splatting.runs.folder import RunFolder

ROLES = ("clean", "perturbed", "recovered")
TURNING, MOVING, LEFT = 1e-3, 5e-4, 0.01
"""Rates of the refinement: radians and extents at the first of its steps, and what is left of them at the last."""


@dataclass(frozen=True)
class Measured:
    """One line of the table."""

    turned: float  # degrees
    moved: float  # fraction of the extent
    psnr: dict[str, float]  # "as is", "refined", "affine", "both"


def build_parser() -> argparse.ArgumentParser:
    """The parser."""
    parser = argparse.ArgumentParser(
        prog="python tools/measure_recovery.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--truth", required=True, help="the true COLMAP scene")
    for role in ROLES:
        parser.add_argument(f"--{role}", required=True, help=f"run folder of the {role} training")
    parser.add_argument(
        "--refine_steps", type=commands.positive_integer, default=60, help="steps of the refinement per view (60)"
    )
    parser.add_argument("--debug", action="store_true", help="show the full traceback of an error")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the status for the shell."""
    return commands.run_command(run, build_parser(), argv)


def run(arguments: argparse.Namespace) -> None:
    """Measure the three runs and print the table."""
    from gaussian_splatting.runs.folder import RunFolder

    found = {
        role: measured(RunFolder(getattr(arguments, role)), arguments.truth, arguments.refine_steps) for role in ROLES
    }
    commands.say(table(found))
    for line in conclusions(found):
        commands.say(line)


def measured(folder: RunFolder, truth: str, refine_steps: int) -> Measured:
    """Everything about one run."""
    from gaussian_splatting.dataset.json_dataset import JSONCameraDataset
    from gaussian_splatting.prepare import prepare_dataset, prepare_gaussians

    settings, iteration = folder.settings(), folder.newest_iteration()
    if not settings.get("eval"):
        raise SplatError(
            f"{folder.path}: was not trained with --eval, so that no view is held out; train it with --eval"
        )
    size = {"resolution": settings["resolution"], "image_scale": settings["image_scale"]}
    training = prepare_dataset(truth, split="train", **size)
    cameras = matched(JSONCameraDataset(folder.cameras, load_mask=False, load_depth=False), training, folder.path)
    held_out = prepare_dataset(truth, split="test", **size)
    gaussians = prepare_gaussians(
        settings["sh_degree"], truth, trainable_camera=True, load_ply=folder.point_cloud(iteration),
        backend=settings["backend"],
    )  # fmt: skip
    gaussians.antialiasing = settings["antialiased"]
    extent = training.scene_extent()
    similarity = fitted(centres_of(cameras), centres_of(training))
    turned, moved = pose_errors(cameras, training, similarity)
    plain = renders(gaussians, held_out)
    refined = renders(gaussians, refined_cameras(gaussians, held_out, similarity, extent, refine_steps))
    psnr = {
        "as is": mean_psnr(plain),
        "refined": mean_psnr(refined),
        "affine": mean_psnr([(recoloured(render, photo), photo) for render, photo in plain]),
        "both": mean_psnr([(recoloured(render, photo), photo) for render, photo in refined]),
    }
    return Measured(turned, moved / extent, psnr)


def matched(cameras: CameraDataset, training: CameraDataset, path: Path) -> CameraDataset:
    """The cameras of a run; SplatError unless they are the training views of the scene in the same order."""
    found, wanted = ([Path(name).stem for name in names] for names in (cameras.names, training.names))
    if found != wanted:
        raise SplatError(f"{path}: its cameras are not the training views of --truth; give the scene it was made from")
    return cameras


def fitted(points: Tensor, targets: Tensor) -> Similarity:
    """The similarity that takes `points` [C, 3] to `targets` [C, 3] with the least squared error (Umeyama 1991)."""
    mean, target_mean = points.mean(dim=0), targets.mean(dim=0)
    arms, target_arms = points - mean, targets - target_mean
    left, strengths, right = torch.linalg.svd(target_arms.T @ arms / len(points))
    signs = torch.ones_like(strengths)
    signs[2] = torch.sign(torch.det(left @ right))
    rotation = left @ torch.diag(signs) @ right
    scale = float((strengths * signs).sum() / (arms * arms).sum(dim=1).mean())
    return Similarity(scale, rotation, target_mean - scale * rotation @ mean)


def pose_errors(cameras: CameraDataset, truth: CameraDataset, similarity: Similarity) -> tuple[float, float]:
    """Median errors over the cameras: rotation in degrees, position in world units of the truth.

    `similarity` leads from the frame of `cameras` to that of the truth.
    """
    relative = rotations_of(cameras) @ similarity.rotation.T @ rotations_of(truth).transpose(1, 2)
    # From the sine and the cosine: the cosine alone is blind to small angles.
    twice_sine = torch.stack([relative[:, i, j] - relative[:, j, i] for i, j in ((2, 1), (0, 2), (1, 0))], dim=1)
    twice_cosine = relative.diagonal(dim1=1, dim2=2).sum(dim=1) - 1
    angles = torch.rad2deg(torch.atan2(twice_sine.norm(dim=1), twice_cosine))
    moved = similarity.points(centres_of(cameras))
    return float(angles.median()), float((moved - centres_of(truth)).norm(dim=1).median())


def refined_cameras(
    gaussians: GaussianModel, held_out: CameraDataset, similarity: Similarity, extent: float, steps: int
) -> CameraDataset:
    """The held-out cameras in the frame of the run, refined on their photos with the Gaussians fixed."""
    from gaussian_splatting.dataset import TrainableCameraDataset
    from gaussian_splatting.geometry.rotations import matrix_to_quaternion
    from gaussian_splatting.trainer import CameraPoses

    cameras, length = TrainableCameraDataset(held_out), steps * len(held_out)
    rotations = rotations_of(held_out) @ similarity.rotation
    centres = (centres_of(held_out) - similarity.shift) @ similarity.rotation / similarity.scale
    cameras.quaternions.data = matrix_to_quaternion(rotations).float()
    cameras.Ts.data = -(rotations @ centres[..., None])[..., 0].float()
    root = len(held_out) ** 0.5  # which the optimiser of rows multiplies rates by
    fixed = ("position_lr_init", "position_lr_final", "feature_lr", "opacity_lr", "scaling_lr", "rotation_lr")
    trainer = CameraPoses(
        gaussians, cameras, scene_extent=extent, camera_gauge_interval=0, camera_warmup_until_iter=0,
        camera_rotation_lr_init=TURNING / root, camera_rotation_lr_final=LEFT * TURNING / root,
        camera_position_lr_init=MOVING / root, camera_position_lr_final=LEFT * MOVING / root,
        camera_rotation_lr_max_steps=length, camera_position_lr_max_steps=length, **dict.fromkeys(fixed, 0.0),
    )  # fmt: skip
    for _ in trainer.run(cameras, length):
        pass
    return cameras


@torch.no_grad()
def renders(gaussians: GaussianModel, cameras: CameraDataset) -> list[tuple[Tensor, Tensor]]:
    """Render and photo of every camera, [3, H, W] each."""
    found = []
    for camera in cameras:
        assert camera.ground_truth_image is not None, "held-out views have photos"
        found.append((gaussians(camera)["render"].detach(), camera.ground_truth_image))
    return found


def recoloured(render: Tensor, photo: Tensor) -> Tensor:
    """The render [3, H, W] after the affine map of its colours that fits the photo best, by least squares."""
    colours = render.flatten(1).T.double()
    colours = torch.cat([colours, torch.ones_like(colours[:, :1])], dim=1)  # [H * W, 4]
    fit = torch.linalg.lstsq(colours, photo.flatten(1).T.double()).solution
    return (colours @ fit).T.reshape(photo.shape).clamp(0, 1).float()


def mean_psnr(pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
    """The mean over views of the PSNR over all channels, in dB."""
    from gaussian_splatting.losses.metrics import psnr

    values = [float(psnr(render, photo)) for render, photo in pairs]
    return sum(values) / len(values)


def table(found: dict[str, Measured]) -> str:
    """One line per run."""
    rows = [["run", "turned (deg)", "moved (%)", *(f"{kind} (dB)" for kind in found["clean"].psnr)]]
    for role, one in found.items():
        values = [f"{value:.2f}" for value in one.psnr.values()]
        rows.append([role, f"{one.turned:.3f}", f"{100 * one.moved:.3f}", *values])
    return columns(rows)


def conclusions(found: dict[str, Measured]) -> list[str]:
    """What the table says about recovery."""
    clean, perturbed, recovered = (found[role] for role in ROLES)
    lines = []
    for kind, best in clean.psnr.items():
        lost, regained = best - perturbed.psnr[kind], recovered.psnr[kind] - perturbed.psnr[kind]
        share = f", {100 * regained / lost:.0f} %" if lost > 0 else ""
        lines.append(f"{kind}: {regained:.2f} of {lost:.2f} dB regained{share}")
    if perturbed.turned > 0 and recovered.turned > 0:
        lines.append(f"median rotation error: {perturbed.turned / recovered.turned:.1f} times smaller")
    return lines


def rotations_of(cameras: CameraDataset) -> Tensor:
    """World to camera [C, 3, 3], float64."""
    return torch.stack([cameras.geometry(index).R.detach().double() for index in range(len(cameras))])


def centres_of(cameras: CameraDataset) -> Tensor:
    """The camera centres [C, 3], float64."""
    return torch.stack([cameras.geometry(index).camera_center.detach().double() for index in range(len(cameras))])


if __name__ == "__main__":
    sys.exit(main())
