"""Row F1: one bad number in any input of any renderer. Whatever is not finite afterwards stops the step by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.rasterizer import get_backend
from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterOutput, RasterView
from gaussian_splatting.trainer import checks

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning"),  # of focal lengths that no camera has
]

BACKENDS = ("cpu", "reference", "cpu-2dgs", "reference-2dgs")
NAN, INFINITE = float("nan"), float("inf")
VALUES = {
    "nan": NAN, "inf": INFINITE, "-inf": -INFINITE, "zero": 0.0, "-zero": -0.0,
    "smallest denormal": 1.4e-45, "-denormal": -1e-40, "smallest normal": 1.1754944e-38,
    "largest": 3.4028234e38, "-largest": -3.4028234e38, "square overflows": 1.9e19, "-square overflows": -1.9e19,
    "exp overflows": 88.8, "exp underflows": -104.0, "threshold of alpha": 1 / 255, "its logit": -5.5373343,
    "logit of the largest alpha": 6.9067548, "threshold of light": 1e-4, "near plane": 0.01, "far plane": 1e10,
    "edge of a tile": 16.0, "last pixel of a tile": 15.5,
}  # fmt: skip
NUM, POISONED = 10, 3
ROWS = tuple(field.name for field in fields(GaussianParameters))
PLACE = {"viewmat": (0, 3), "K": (0, 0), "background": (1,)}
IMAGES = ("colors", "alphas", "depth", "inverse_depth")
SLOTS = (*ROWS, *PLACE, "scale_modifier", *(f"gradient of {name}" for name in IMAGES))
Renderer = Callable[[GaussianParameters, RasterView], RasterOutput]


def scene() -> tuple[dict[str, Tensor], RasterView]:
    """Ten Gaussians on two by two tiles, all of them visible."""
    random = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    tensors = {
        "means": normal(NUM, 3) * torch.tensor([1.0, 0.8, 0.5]),
        "quats": normal(NUM, 4),
        "log_scales": normal(NUM, 3) * 0.3 - 1.2,
        "opacity_logits": normal(NUM, 1),
        "features_dc": normal(NUM, 1, 3) * 0.5,
        "features_rest": normal(NUM, 3, 3) * 0.2,
        "viewmat": torch.eye(4),
        "K": torch.tensor([[20.0, 0, 10], [0, 21, 9], [0, 0, 1]]),
        "background": torch.tensor([0.1, 0.2, 0.3]),
    }
    tensors["viewmat"][2, 3] = 3.0
    view = RasterView(tensors["viewmat"], tensors["K"], 20, 18, 1, tensors["background"])
    return tensors, view


@dataclass
class Outcome:
    """What one forward and backward gave."""

    images: dict[str, Tensor]
    tensors: dict[str, Tensor]
    num_seen: int

    @property
    def is_finite(self) -> bool:
        gradients = [tensor.grad for tensor in self.tensors.values() if tensor.grad is not None]
        return all(bool(value.isfinite().all()) for value in (*self.images.values(), *gradients))


def run(render: Renderer, slot: str = "", value: float = 0.0, rows: list[int] | None = None) -> Outcome:
    """One step with `value` in `slot`, of the Gaussians `rows` only."""
    tensors, view = scene()
    if slot in ROWS:
        tensors[slot].view(NUM, -1)[POISONED, 0] = value
    elif slot in PLACE:
        tensors[slot][PLACE[slot]] = value
    if rows is not None:
        tensors |= {name: tensors[name][rows] for name in ROWS}
    leaves = {name: tensor.clone().requires_grad_(name != "K") for name, tensor in tensors.items()}
    view = replace(view, **{name: leaves[name] for name in PLACE})
    if slot == "scale_modifier":
        view = replace(view, scale_modifier=value)
    out = render(GaussianParameters(**{name: leaves[name] for name in ROWS}), view)
    images = {name: getattr(out, name) for name in IMAGES}
    pairs = [(image, torch.ones_like(image), name) for name, image in images.items() if image.requires_grad]
    for _, gradient, name in pairs:
        if slot == f"gradient of {name}":
            gradient.view(-1)[gradient.numel() // 2] = value
    torch.autograd.backward([image for image, _, _ in pairs], [gradient for _, gradient, _ in pairs])
    return Outcome({name: image.detach() for name, image in images.items()}, leaves, int((out.radii > 0).sum()))


def refusal(outcome: Outcome) -> str | None:
    """What the check of a training step says of this outcome."""
    optimizer = SimpleNamespace(
        param_groups=[{"name": name, "params": [leaf]} for name, leaf in outcome.tensors.items() if leaf.requires_grad]
    )
    camera: Any = SimpleNamespace(custom_data={"name": "view_4"})
    terms = {name: image.double().sum() for name, image in outcome.images.items()}
    try:
        checks.finite_step(terms, optimizer, 7, camera)  # pyright: ignore[reportArgumentType]
    except TrainingError as error:
        return str(error)
    return None


def fault(outcome: Outcome, message: str | None) -> str | None:
    """What is wrong with the verdict on an outcome; None when it is finite, or refused by tensor, index and count."""
    if message is None:
        return None if outcome.is_finite else "silent: something is not finite and nobody says so"
    if outcome.is_finite:
        return f"refused although everything is finite: {message}"
    if not message.startswith("step 7, view 'view_4': the "):
        return f"names no step and view: {message}"
    term = re.search(r"the loss term '(\w+)' is (nan|-?inf)\.", message)
    if term is not None:
        return None if not outcome.images[term[1]].isfinite().all() else f"names the wrong term: {message}"
    named = re.search(r"the gradient of '(\w+)' is (?:nan|-?inf) at index \[([\d, ]+)\] \((\d+) such values\)", message)
    if named is None:
        return f"names no tensor, index and count: {message}"
    gradient = outcome.tensors[named[1]].grad
    assert gradient is not None
    bad = ~gradient.isfinite()
    index = tuple(int(number) for number in named[2].split(","))
    right = bool(bad[index]) and int(bad.sum()) == int(named[3])
    return None if right else f"names the wrong place: {message}"


def without_poisoned(render: Renderer) -> dict[str, Tensor]:
    return run(render, rows=[row for row in range(NUM) if row != POISONED]).images


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return all(torch.allclose(found[name], expected[name], rtol=1e-5, atol=1e-6) for name in IMAGES)


def judged(render: Renderer, slot: str, name: str, refuse: Callable[[Outcome], str | None] = refusal) -> str | None:
    """What is wrong after one bad number; None when all is well."""
    value = VALUES[name]
    outcome = run(render, slot, value)
    found = fault(outcome, refuse(outcome))
    if found is not None:
        return found
    alphas = outcome.images["alphas"]
    if bool(alphas.isfinite().all()) and (alphas.min() < 0 or alphas.max() > 1 + 1e-6):
        return "an alpha outside 0 to 1"
    if abs(value) < INFINITE or not all(bool(image.isfinite().all()) for image in outcome.images.values()):
        return None
    return shown_instead(render, slot, value, outcome)


def shown_instead(render: Renderer, slot: str, value: float, outcome: Outcome) -> str | None:
    """A finite picture of what is not finite: the Gaussian is left out or drawn at its limit, a camera sees nothing."""
    if slot in ROWS:
        limit = run(render, slot, max(-3e38, min(3e38, value))).images if value == value else None
        right = same(outcome.images, without_poisoned(render)) or (limit is not None and same(outcome.images, limit))
        # Its gradient says so, where the picture is not the one without it.
        return None if right or not outcome.is_finite else "a picture of something that is not finite"
    if slot in ("viewmat", "K", "scale_modifier"):
        empty = outcome.images["colors"] == outcome.tensors["background"]
        return None if outcome.num_seen == 0 and empty.all() else "a picture by a camera that is not finite"
    return None


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_bad_number_is_harmless_or_refused_by_name(backend: str, slot: str) -> None:
    render = get_backend(backend).render_gaussians
    faults = {name: found for name in VALUES if (found := judged(render, slot, name)) is not None}
    assert faults == {}


@pytest.mark.parametrize("slot", ROWS)
@pytest.mark.parametrize("backend", ["cpu", "cpu-2dgs"])
def test_what_is_not_finite_is_as_if_it_were_not_there(backend: str, slot: str) -> None:
    """The kernels leave such a Gaussian out, so that the picture and the other Gaussians are untouched."""
    render = get_backend(backend).render_gaussians
    expected, rest = without_poisoned(render), [row for row in range(NUM) if row != POISONED]
    for value in (NAN, INFINITE, -INFINITE):
        outcome = run(render, slot, value)
        assert all(image.isfinite().all() for image in outcome.images.values())
        assert value == value or same(outcome.images, expected)
        for name in ROWS:
            gradient = outcome.tensors[name].grad
            assert gradient is not None
            assert gradient[rest].isfinite().all(), (name, value)


def test_there_are_as_many_cases_as_the_table_says() -> None:
    assert (len(VALUES), len(SLOTS), len(BACKENDS)) == (22, 14, 4)
    for backend in BACKENDS:
        plain = run(get_backend(backend).render_gaussians)
        assert plain.num_seen == NUM
        assert plain.is_finite
        assert refusal(plain) is None


# Controls


def test_without_the_check_the_same_cases_fail() -> None:
    render = get_backend("cpu").render_gaussians
    faults = [judged(render, slot, "nan", lambda outcome: None) for slot in SLOTS]
    assert sum("silent" in (found or "") for found in faults) >= 5


def test_a_check_of_the_wrong_place_fails() -> None:
    def misled(outcome: Outcome) -> str | None:
        message = refusal(outcome)
        return None if message is None else re.sub(r"index \[\d+", "index [0", message).replace("loss term", "thing")

    render = get_backend("cpu").render_gaussians
    assert judged(render, "background", "nan", misled) is not None
    assert judged(render, "features_dc", "largest", misled) is not None


def test_a_renderer_that_hides_what_is_not_finite_fails() -> None:
    """Zeros in place of NaN look healthy: the picture is finite, and so is every gradient."""
    reference = get_backend("reference").render_gaussians

    def hiding(parameters: GaussianParameters, view: RasterView) -> RasterOutput:
        clean = GaussianParameters(**{name: torch.nan_to_num(getattr(parameters, name)) for name in ROWS})
        return reference(clean, replace(view, K=torch.nan_to_num(view.K)))

    faults = {slot: judged(hiding, slot, "nan") for slot in (*ROWS, "K")}
    assert sum(found is not None for found in faults.values()) >= 5, faults
