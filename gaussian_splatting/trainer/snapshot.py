"""Everything a run needs to go on with the same bits: parameters, moments, state groups and the step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gaussian_splatting.errors import CheckpointError
from gaussian_splatting.gaussian_rows import ATTRIBUTES
from gaussian_splatting.trainer.optimizer import MOMENTS

if TYPE_CHECKING:
    from gaussian_splatting.trainer.base import BaseTrainer


def capture(trainer: BaseTrainer) -> dict[str, Tensor]:
    """Named tensors on the CPU, copied: `parameter.*`, `moment.*`, `state.*` and `step`.

    Where processes share out the Gaussians, all must come here; the first gets the rows of all.
    """
    rows, whole = row_names(trainer), trainer.workers.whole
    found = {name: tensor.detach().to("cpu", copy=True) for name, tensor in live(trainer).items()}
    # contiguous_format gives the same bytes whatever strides the live tensor has.
    return {
        name: (whole(name, tensor) if name in rows else tensor).contiguous(memory_format=torch.contiguous_format)
        for name, tensor in found.items()
    }


def live(trainer: BaseTrainer) -> dict[str, Tensor]:
    """What this process holds, by the names of a checkpoint: not copied, where it is."""
    found: dict[str, Tensor] = {"step": torch.tensor(trainer.curr_step)}
    for group in trainer.optimizer.param_groups:
        name, parameter = group["name"], group["params"][0]
        found[f"parameter.{name}"] = parameter
        for key, value in trainer.optimizer.state.get(parameter, {}).items():
            found[f"moment.{name}.{key}"] = torch.as_tensor(value)
    for group, state in trainer.states().items():
        for field, value in state.tensors().items():
            found[f"state.{group}.{field}"] = value
    return found


def row_names(trainer: BaseTrainer) -> set[str]:
    """Which tensors of a checkpoint have one row per Gaussian."""
    found = {f"parameter.{name}" for name in ATTRIBUTES}
    found |= {f"moment.{name}.{key}" for name in ATTRIBUTES for key in MOMENTS}
    return found | {f"state.{name}.{field}" for name, state in trainer.states().items() for field in state.row_fields()}


def restore(trainer: BaseTrainer, tensors: Mapping[str, Tensor]) -> None:
    """Put a captured run back into a trainer of the same class and options. Nothing changes unless everything fits.

    Raises CheckpointError naming the tensor that is missing, unknown, or of another shape.
    """
    _check(trainer, tensors)
    tensors = trainer.workers.dealt(tensors, row_names(trainer))
    rows = {name: tensors.get(f"parameter.{name}") for name in ATTRIBUTES}
    device = trainer.model.get_xyz.device
    present = {name: value.to(device, copy=True) for name, value in rows.items() if value is not None}
    parameters = trainer.model.adopt_rows(present)
    trainer.optimizer.state.clear()
    for group in trainer.optimizer.param_groups:
        name = group["name"]
        if name in parameters:
            group["params"][0] = parameters[name]
        else:
            group["params"][0].data.copy_(tensors[f"parameter.{name}"])
        prefix = f"moment.{name}."
        moments = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        if moments:
            trainer.optimizer.state[group["params"][0]] = {
                key: value.to("cpu" if value.ndim == 0 else device, copy=True) for key, value in moments.items()
            }
    for group, state in trainer.states().items():
        prefix = f"state.{group}."
        state.restore({k.removeprefix(prefix): v.clone() for k, v in tensors.items() if k.startswith(prefix)}, device)
    trainer.curr_step = int(tensors["step"])


def _check(trainer: BaseTrainer, tensors: Mapping[str, Tensor]) -> None:
    expected = _expected_shapes(trainer, tensors)
    optional = {f"moment.{group['name']}.{key}" for group in trainer.optimizer.param_groups for key in _MOMENT_KEYS}
    missing, unknown = expected.keys() - tensors.keys() - optional, tensors.keys() - expected.keys()
    if missing or unknown:
        raise CheckpointError(
            f"the checkpoint is of another kind of run: missing {sorted(missing)}, unknown {sorted(unknown)}; "
            "resume with the trainer and the options it was made with"
        )
    for name, shape in expected.items():
        if name in tensors and tuple(tensors[name].shape) != shape:
            raise CheckpointError(f"checkpoint tensor {name} is {tuple(tensors[name].shape)}, expected {shape}")


_MOMENT_KEYS = ("step", *MOMENTS)


def _expected_shapes(trainer: BaseTrainer, tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    if "parameter.xyz" not in tensors:
        raise CheckpointError("the checkpoint has no Gaussians (parameter.xyz)")
    num, row_shapes = tensors["parameter.xyz"].shape[0], trainer.model.row_shapes()
    shapes: dict[str, tuple[int, ...]] = {"step": ()}
    for group in trainer.optimizer.param_groups:
        name = group["name"]
        shape = (num, *row_shapes[name]) if name in row_shapes else tuple(group["params"][0].shape)
        shapes[f"parameter.{name}"] = shape
        counts = shape[:1] if group.get("per_row") else ()
        shapes |= {f"moment.{name}.{key}": counts if key == "step" else shape for key in _MOMENT_KEYS}
    for group, state in trainer.states().items():
        for field, value in state.tensors().items():
            per_row = field in state.row_fields()
            shapes[f"state.{group}.{field}"] = (num, *value.shape[1:]) if per_row else tuple(value.shape)
    return shapes
