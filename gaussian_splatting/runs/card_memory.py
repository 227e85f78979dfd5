"""How much memory of a card a run will take, told before it starts, and how many Gaussians there is room for.

Counted from the sizes of what is kept. What gsplat, the loss and the allocator need for themselves is an estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from gaussian_splatting.trainer.checks import most_gaussians

if TYPE_CHECKING:
    from gaussian_splatting.dataset.dataset import CameraDataset
    from gaussian_splatting.trainer.base import BaseTrainer

GIB = 1 << 30
RASTER_BYTES = 320
"""Of a Gaussian in a step: activations, projection and their gradients (170), and its tiles with their sort (150)."""
PIXEL_BYTES = 320
"""Of a pixel in a step: the rendered channels and their gradients, the photo as floats, the maps of the loss."""
ROOM = 0.8
"""What is advised to be filled at most: the allocator cannot use all."""


@dataclass(frozen=True)
class Estimate:
    """Bytes of a run, by what they depend on."""

    per_gaussian: int
    pictures: int
    """Kept on the card."""
    step: int
    """Of a step, whatever the number of Gaussians."""

    def room(self, free: int) -> int:
        """How many Gaussians `free` bytes hold."""
        return max(0, int(ROOM * (free - self.pictures - self.step) / self.per_gaussian))

    def total(self, num: int) -> int:
        """The bytes that `num` Gaussians take at most, with everything else."""
        return self.pictures + self.step + num * self.per_gaussian


def estimate(trainer: BaseTrainer, cameras: CameraDataset) -> Estimate:
    """What this run takes at its peak, which is in a step or in a refinement, whichever needs more."""
    rows = trainer.model.rows()
    num = max(1, len(trainer.model))
    values, statistics = bytes_of_row(trainer)
    # The harmonics are put together for the rasteriser, and so are their gradients.
    harmonics = (rows["f_dc"].nbytes + rows["f_rest"].nbytes) // num
    exchanged = 2 * values if trainer.workers.size > 1 else 0
    in_step = 4 * values + statistics + 2 * harmonics + RASTER_BYTES + exchanged
    # Parameters, moments and statistics are made anew beside the old ones.
    in_refinement = 2 * (3 * values + statistics)
    with torch.no_grad():
        views = [cameras.geometry(index) for index in range(len(cameras))]
    largest = max(view.image_height * view.image_width for view in views)
    return Estimate(max(in_step, in_refinement), cameras.bytes_on_device(), PIXEL_BYTES * largest)


def bytes_of_row(trainer: BaseTrainer) -> tuple[int, int]:
    """What the parameters of a Gaussian take, and what its statistics do."""
    num = max(1, len(trainer.model))
    values = sum(parameter.nbytes for parameter in trainer.model.rows().values())
    fields = [getattr(state, name) for state in trainer.states().values() for name in state.row_fields()]
    return values // num, sum(field.nbytes for field in fields) // num


def shard_advice(trainer: BaseTrainer, free: int, name: str) -> list[str]:
    """A line to say where the Gaussians are shared out. What a step takes depends on what its views show."""
    values, statistics = bytes_of_row(trainer)
    kept = len(trainer.model) * (4 * values + statistics)
    return [
        f"memory of {name}: {free / GIB:.1f} GiB free; {kept / GIB:.2f} GiB for its part of the Gaussians "
        f"({4 * values + statistics} bytes each), and what the views of a step show besides"
    ]


def advice(trainer: BaseTrainer, cameras: CameraDataset, iterations: int, free: int, name: str) -> list[str]:
    """Lines to say before a run on the card `name` with `free` bytes: the estimate, and what to do when it is too much.

    A recipe that plans its number of Gaussians is judged by the number planned, any other by its limit.

    >>> rounded(1_234_567)
    1200000
    """
    if trainer.workers.sharded:
        return shard_advice(trainer, free, name)
    found, num = estimate(trainer, cameras), len(trainer.model)
    room, (option, most) = found.room(free), most_gaussians(trainer, iterations)
    planned = f", {found.total(most) / GIB:.2f} GiB for the {most} planned" if option is None and most > num else ""
    lines = [
        f"memory of {name}: {free / GIB:.1f} GiB free; about {found.total(num) / GIB:.2f} GiB for {num} Gaussians "
        f"({found.per_gaussian} bytes each) and pictures{planned}, room for about {rounded(room)}"
    ]
    if num > room:
        lines.append(
            f"warning: {num} Gaussians at the start are more than there is room for; use smaller pictures (-r 2), "
            "fewer points (--init random:N), or a lower --sh_degree"
        )
    elif most > room:
        what = f"the number planned ({most})" if option is None else f"the limit ({option} {most})"
        lines.append(f"{what} is above that: give --max_gaussians {rounded(room)} to stay within this card")
    return lines


def free_bytes(device: torch.device) -> int:
    """The bytes of a card that are free, with those that torch holds and does not use."""
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused


def rounded(number: int) -> int:
    """A number cut to two digits."""
    digits = max(0, len(str(number)) - 2)
    return number // 10**digits * 10**digits
