"""Normal consistency and depth distortion: their terms, their times, and the backends that cannot give them."""

from __future__ import annotations

import pytest
import torch

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.trainer import BaseTrainer, DepthDistortion, NormalConsistency, NormalTrainer
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model


def terms(cls: type[BaseTrainer], step: int, **options) -> tuple[dict[str, torch.Tensor], dict]:
    trainer = cls(tiny_model(cls), TinyDataset(), **options)
    trainer.curr_step = step
    out = trainer.model(TinyDataset()[0])
    return dict(trainer.losses(out, TinyDataset()[0])), out


def test_the_normal_term_is_one_minus_the_cosine():
    found, out = terms(NormalConsistency, 7001)
    alpha = out["render_alphas"].detach()
    expected = (1 - (out["render_normals"] * out["normals_from_depth"] * alpha).sum(dim=0)).mean()
    torch.testing.assert_close(found["normal_consistency"], 0.05 * expected)


def test_the_distortion_term_is_the_weighted_mean():
    found, out = terms(DepthDistortion, 3001)
    torch.testing.assert_close(found["depth_distortion"], 0.01 * out["render_distort"].mean())


@pytest.mark.parametrize(
    ("cls", "name", "start"),
    [(NormalConsistency, "normal_consistency", 7000), (DepthDistortion, "depth_distortion", 3000)],
)
def test_terms_count_after_their_first_step(cls, name, start):
    assert name not in terms(cls, start)[0]
    assert name in terms(cls, start + 1)[0]


def test_both_terms_pull_the_surfels():
    for cls, name, step in (
        (NormalConsistency, "normal_consistency", 7001),
        (DepthDistortion, "depth_distortion", 3001),
    ):
        trainer = cls(tiny_model(cls), TinyDataset())
        trainer.curr_step = step
        camera = TinyDataset()[0]
        dict(trainer.losses(trainer.model(camera), camera))[name].backward()
        assert (trainer.model._rotation.grad != 0).any()


def test_all_terms_come_together():
    found, _ = terms(NormalTrainer, 8000)
    assert set(found) == {"photometric", "depth", "normal_consistency", "depth_distortion"}


@pytest.mark.parametrize(
    ("cls", "missing"),
    [
        (
            NormalConsistency,
            "NormalConsistency needs a renderer that gives normals_from_depth, render_alphas, render_normals",
        ),
        (DepthDistortion, "DepthDistortion needs a renderer that gives render_distort"),
    ],
)
def test_a_backend_without_surfaces_is_refused_with_the_cure(cls, missing):
    with pytest.raises(TrainingError, match=missing + "; 'cpu' does not. Use .* --backend cpu-2dgs"):
        cls(tiny_model(), TinyDataset())
