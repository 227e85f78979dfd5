"""BaseTrainer: the loop, the hooks, and everything a feature may rely on."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, final

import torch
from torch import Tensor

from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.losses.photometric import photometric
from gaussian_splatting.options import Options, option, with_values
from gaussian_splatting.trainer import checks, maps, randomness, rules
from gaussian_splatting.trainer.optimizer import NamedAdam
from gaussian_splatting.trainer.rates import GaussianRates, RunLength
from gaussian_splatting.trainer.workers import ALONE, Alone

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera
    from gaussian_splatting.dataset.dataset import CameraDataset
    from gaussian_splatting.trainer.state import State


@dataclass(frozen=True, kw_only=True)
class PhotometricOptions(Options):
    """The photometric loss (1 - lambda) L1 + lambda (1 - SSIM), and what happens outside image masks."""

    lambda_dssim: float = option(0.2, "weight of 1 - SSIM beside L1", name="lambda_dssim", maximum=1.0)
    mask_mode: Literal["none", "ignore", "bg_color"] = option(
        "none",
        "outside the image mask: use it (none), leave it out (ignore), paint the background (bg_color)",
        name="mask_mode",
    )
    bg_color: Literal["random"] | tuple[float, float, float] | None = option(
        None, "background while training: as the camera says (none), a new one each step (random), or r,g,b",
        name="bg_color", maximum=1.0,
    )  # fmt: skip


class BaseTrainer:
    """Fits Gaussians to views. Alone it minimises the photometric loss; a feature is a subclass that adds one thing.

    `BaseTrainer(model, dataset)` and `BaseTrainer(model, scene_extent=...)` both work; options are keywords with
    flat names, and an unknown one is a TypeError that names the nearest. `scene_extent` is in world units.
    """

    model_class = GaussianModel
    """The kind of model that the trainer needs."""
    trains_cameras: bool = False
    """Whether the dataset must be a TrainableCameraDataset."""
    trains_surfels: bool = False
    """Whether the model must be rendered by surface splatting (2DGS)."""
    strategy: str | None = None
    """What a feature is the whole of, such as "densification": two features with the same strategy do not combine."""
    shardable: bool = True
    """Of a class that acts at a hook: whether it may see a part of the rows only. Each says it itself: `sharded`."""
    workers: Alone = ALONE
    """The processes that train together; see `workers.join`."""
    run_length = RunLength()
    rates = GaussianRates()
    photometric = PhotometricOptions()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        rules.check_feature(cls)

    def __init__(
        self,
        model: GaussianModel,
        dataset: CameraDataset | None = None,
        *,
        scene_extent: float | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        if len(model) == 0:
            raise ValueError("the model has no Gaussians; call create_from_pcd() or load_ply() first")
        if scene_extent is None:
            if dataset is None:
                raise TypeError(f"{type(self).__name__} needs a dataset, or scene_extent=dataset.scene_extent()")
            scene_extent = dataset.scene_extent()
        self.model, self.dataset, self.seed = model, dataset, seed
        self.scene_extent = float(scene_extent)
        self.options = with_values(rules.option_groups(type(self)), options, type(self).__name__)
        for name, group in self.options.items():
            setattr(self, name, group)
        self._states = rules.state_groups(type(self))
        for name, state in self._states.items():
            state.allocate(len(model), model.get_xyz.device)
            setattr(self, name, state)
            model.follow(state)
        self.curr_step = 0
        self.changing = False
        """Whether a step is half done: an error now leaves neither the values of this step nor of the one before."""
        self.schedules: dict[str, Callable[[int], float]] = {}
        self._make_optimizer()
        self.setup()

    def _make_optimizer(self) -> None:
        parameters, rates = self.model.rows(), self.rates.schedules(self.scene_extent)
        self.optimizer = NamedAdam([{"params": [p], "name": name, "lr": 0.0} for name, p in parameters.items()])
        self.schedules.update(rates)
        self.model.follow(self.optimizer)

    @property
    def schedulers(self) -> dict[str, Callable[[int], float]]:
        """Parameter group name -> learning rate as a function of the step."""
        return self.schedules

    def add_parameter(
        self, name: str, parameter: torch.nn.Parameter, rate: Callable[[int], float], per_row: bool = False
    ) -> None:
        """Optimise one more parameter; for the `setup` of a feature. With `per_row`, rows without gradient stay."""
        self.optimizer.add_param_group({"params": [parameter], "name": name, "lr": 0.0, "per_row": per_row})
        self.schedules[name] = rate

    # The loop

    @final
    def step(self, camera: Camera) -> tuple[Tensor, dict[str, Any]]:
        """One step of the optimisation. Read this method to know the order of everything."""
        self.curr_step += 1
        self.update_learning_rates()
        camera = self.preprocess(camera)
        out = self.model(camera)
        losses = dict(self.losses(out, camera))
        loss = total(losses)
        loss.backward()
        checks.finite_step(losses, self.optimizer, self.curr_step, camera)
        value, views = self.workers.exchange(self, loss, out, camera)
        self.changing = True
        for shown, view in views:
            self.after_backward(shown, view)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.refine()
        checks.not_empty(self.workers.count(self.model), self.curr_step)
        self.after_step()
        self.workers.verify(self)
        out["losses"], out["camera"] = losses, camera
        self.changing = False  # last: nothing may fail between the end of a step and the word that it has ended
        return value, out

    @final
    def run(self, cameras: Sequence[Camera] | CameraDataset, steps: int) -> Iterator[tuple[Tensor, dict[str, Any]]]:
        """Train until `curr_step` is `steps`, yielding (loss, out) after every step; the seed orders the views."""
        prefetch = getattr(cameras, "prefetch", None)
        self.workers.begin(cameras)
        while self.curr_step < steps:
            numbers = [self.workers.sample(self.curr_step + ahead) for ahead in (1, 2, 3)]
            views = [randomness.view_of_step(self.seed, number, len(cameras)) for number in numbers]
            if prefetch is not None:
                prefetch(views)
            yield self.step(self.view(cameras, views[0]))

    def view(self, cameras: Sequence[Camera] | CameraDataset, index: int) -> Camera:
        """The camera that the next step begins with; a trainer that needs less than all pictures may ask for less."""
        return cameras[index]

    def picture_share(self, step: int) -> float:
        """The part of the pixels of a picture that a step renders. For plans of time only."""
        return 1.0

    def expected_count(self, step: int) -> int:
        """About how many Gaussians there will be at a step. For plans of time only."""
        return self.workers.count(self.model)

    def update_learning_rates(self) -> None:
        """Set the rate of every parameter group for the current step."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedules[group["name"]](self.curr_step)

    @final
    def random(self, purpose: str) -> torch.Generator:
        """A generator that depends on the seed, the step and the purpose only. A feature uses no other randomness."""
        return randomness.generator(self.seed, self.curr_step, purpose)

    @final
    def states(self) -> Mapping[str, State]:
        """Every state group by name."""
        return self._states

    # Hooks. An override calls super(), touches its own groups, and never changes its arguments.

    def setup(self) -> None:
        """Once, at construction: add parameters, look at the dataset, cut the start, say what will not be possible."""
        maps.say_masks(self.dataset, self.photometric.mask_mode)

    def preprocess(self, camera: Camera) -> Camera:
        """The camera to train on in this step."""
        match self.photometric.bg_color:
            case None:
                return camera
            case "random":
                color = torch.rand(3, generator=self.random("background"))
            case fixed:
                color = torch.tensor(fixed, dtype=torch.float32)
        return camera._replace(bg_color=color.to(self.model.get_xyz.device, non_blocking=True))

    def losses(self, out: dict[str, Any], camera: Camera) -> Iterator[tuple[str, Tensor]]:
        """Named terms of the loss, weights included."""
        yield (
            "photometric",
            photometric(out["render"], camera, self.photometric.lambda_dssim, self.photometric.mask_mode),
        )

    def after_backward(self, out: dict[str, Any], camera: Camera) -> None:
        """Gather statistics from the gradients. Several processes: once for every view of the step; see `exchange`."""

    def refine(self) -> None:
        """The only place where N changes during a run."""

    def after_step(self) -> None:
        """Change values, never N, once the step is done."""

    @classmethod
    def describe(cls) -> str:
        """Which class acts at which hook, outermost first, and the options with their values."""
        lines = [f"{cls.__name__}: {(inspect.getdoc(cls) or '').partition(chr(10))[0]}"]
        lines += [f"  {hook:<14} {' <- '.join(rules.hook_chain(cls, hook))}" for hook in rules.HOOKS]
        return "\n".join([*lines, *rules.described_options(cls)])


def total(losses: Mapping[str, Tensor]) -> Tensor:
    """The sum of the terms in the order of their names, so that the order of features changes no bit."""
    terms = [losses[name] for name in sorted(losses)]
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result
