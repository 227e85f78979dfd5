"""Adam with named parameter groups whose rows follow the Gaussians: our own kernel on a CPU, torch's on a card."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from gaussian_splatting.gaussian_rows import ATTRIBUTES, Commit, rows_moved
from gaussian_splatting.trainer.row_adam import row_moments, step_of_seen_rows
from gaussian_splatting.trainer.sparse_adam import step_of_sparse_rows

MOMENTS = ("exp_avg", "exp_avg_sq")


class NamedAdam(torch.optim.Adam):
    """`torch.optim.Adam` (Kingma and Ba 2015) over groups of one named parameter each; eps 1e-15 as in 3DGS.

    In a group with `per_row`, only rows that have a gradient in a step are moved; see `row_adam`. A sparse gradient
    moves the rows that it holds; see `sparse_adam`.
    """

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        super().__init__(groups, lr=0.0, eps=1e-15)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, without the wrapper that has torch load its compiler for it: more than a second."""
        inspect.unwrap(torch.optim.Optimizer.add_param_group)(self, param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        inspect.unwrap(torch.optim.Optimizer.zero_grad)(self, set_to_none)

    def group(self, name: str) -> dict[str, Any]:
        """The parameter group called `name`."""
        return next(group for group in self.param_groups if group["name"] == name)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Update every parameter that has a gradient."""
        assert closure is None, "closures are not used here"
        elsewhere, fused = [], []
        for group in self.param_groups:
            parameter = group["params"][0]
            if parameter.grad is None or parameter.numel() == 0:
                continue
            if group.get("per_row"):
                step_of_seen_rows(parameter, self.moments(parameter, per_row=True), group)
            elif parameter.grad.is_sparse:
                step_of_sparse_rows(parameter, self.moments(parameter), group)
            elif _on_own_kernel(parameter):
                self._kernel_step(group, parameter)
            elif parameter.is_cuda:
                fused.append(group)
            else:
                elsewhere.append(group)
        self.fused_step(fused)
        if elsewhere:
            everything, self.param_groups = self.param_groups, elsewhere
            try:
                super().step()
            finally:
                self.param_groups = everything

    def fused_step(self, groups: list[dict[str, Any]]) -> None:
        """Update groups of dense gradients in one pass over their values, one launch for all that share their rate.

        torch's multi-tensor kernel, which needs the numbers of steps on the device of the parameters.
        """
        alike: dict[tuple[float, float, float, float], list[nn.Parameter]] = {}
        for group in groups:
            alike.setdefault((float(group["lr"]), *group["betas"], group["eps"]), []).append(group["params"][0])
        for (rate, beta1, beta2, eps), parameters in alike.items():
            states = [self.moments(parameter) for parameter in parameters]
            for parameter, state in zip(parameters, states, strict=True):
                state["step"] = state["step"].to(parameter.device)
            first, second, steps = ([state[name] for state in states] for name in (*MOMENTS, "step"))
            adam(
                [*parameters], [parameter.grad for parameter in parameters if parameter.grad is not None],
                first, second, [], steps,
                fused=True, amsgrad=False, beta1=beta1, beta2=beta2, lr=rate, weight_decay=0.0, eps=eps, maximize=False,
            )  # fmt: skip

    def moments(self, parameter: Tensor, per_row: bool = False) -> dict[str, Tensor]:
        """The state of one parameter, made when it is first asked for."""
        state = self.state[parameter]
        if not state and per_row:
            state.update(row_moments(parameter))
        if not state:
            state["step"] = torch.tensor(0.0)
            for name in MOMENTS:
                state[name] = torch.zeros_like(parameter, memory_format=torch.contiguous_format)
        return state

    def _kernel_step(self, group: dict[str, Any], parameter: Tensor) -> None:
        from gaussian_splatting.rasterizer.cpu.adam import adam_step

        state, (beta1, beta2) = self.moments(parameter), group["betas"]
        state["step"] += 1
        step, gradient = int(state["step"]), parameter.grad
        assert gradient is not None
        adam_step(
            flat(parameter),
            flat(gradient),
            flat(state["exp_avg"]),
            flat(state["exp_avg_sq"]),
            float(group["lr"]),
            beta1,
            beta2,
            group["eps"],
            1 - beta1**step,
            1 - beta2**step,
        )

    # RowFollower

    def prepare_rows(self, parents: Tensor, fresh: Tensor) -> Commit:
        """Follow a change of N: moments move with their Gaussians and start at zero for new ones."""
        moved: dict[str, dict[str, Tensor]] = {}
        for name in ATTRIBUTES:
            state = self.state.get(self.group(name)["params"][0], {})
            moved[name] = {
                key: rows_moved(value, parents, fresh) if key in MOMENTS else value for key, value in state.items()
            }

        def commit(parameters: Mapping[str, nn.Parameter]) -> None:
            for name, state in moved.items():
                group = self.group(name)
                self.state.pop(group["params"][0], None)
                group["params"][0] = parameters[name]
                if state:
                    self.state[parameters[name]] = state

        return commit

    def rows_overwritten(self, name: str, rows: Tensor) -> None:
        """Start the moments of overwritten values again."""
        state = self.state.get(self.group(name)["params"][0], {})
        for moment in MOMENTS:
            if moment in state:
                state[moment][rows] = 0


def flat(tensor: Tensor) -> Any:
    """A contiguous CPU tensor as a flat numpy view [numel]."""
    return tensor.detach().contiguous().view(-1).numpy()


def _on_own_kernel(parameter: Tensor) -> bool:
    return parameter.device.type == "cpu" and parameter.dtype == torch.float32 and parameter.is_contiguous()
