"""The autograd function of the CPU rasteriser: torch tensors outside, pooled NumPy arrays inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaussian_splatting.errors import BackendError
from gaussian_splatting.rasterizer.cpu.arguments import PLAIN_COLORS, Gaussians, Images, PixelGradients, Shape
from gaussian_splatting.rasterizer.cpu.frame import Frame, make_camera, render
from gaussian_splatting.rasterizer.cpu.frame_backward import backward
from gaussian_splatting.rasterizer.cpu.settings import RenderSettings
from gaussian_splatting.rasterizer.cpu.workspace import workspace

NO_FLOATS = np.zeros(0, np.float32)


@dataclass
class Rendering:
    """One rendered view that autograd does not know yet, and what the gradient will need."""

    settings: RenderSettings
    inputs: tuple[Tensor | None, ...]
    images: tuple[Tensor, ...]  # colours [H, W, 3], alphas, expected depths and inverse depths [H, W]
    transmittances: Tensor  # [H, W]
    radii: Tensor  # [N] int32 pixels
    means2d: Tensor  # [N, 2] pixels
    frame: Frame
    wants_gradient: bool
    absolute: Tensor | None = None  # [N, 2] where the sums over pixels of |d loss / d means2d| are added

    def attach(self, leaf: Tensor) -> tuple[Tensor, ...]:
        """The images with the graph attached; the gradient by pixel positions goes to `leaf`."""
        return _Rasterize.apply(self, leaf, *self.inputs) if self.wants_gradient else self.images


def render_view(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    features: Tensor,
    features_rest: Tensor | None,
    viewmat: Tensor,
    background: Tensor,
    settings: RenderSettings,
) -> Rendering:
    """Render N Gaussians. `attach` makes gradients reach every tensor that wants one.

    `features` is [N, 3] (colours), [N, K, 3], or [N, 1, 3] with the other coefficients in `features_rest` [N, K-1, 3].
    """
    inputs = (means, quats, scales, opacities, features, features_rest, viewmat, background)
    gaussians, shape = as_gaussians(inputs[:6], settings)
    color = np.ascontiguousarray(background.detach().numpy())
    height, width = settings.height, settings.width
    wants_gradient = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs)
    camera = make_camera(viewmat, settings)
    frame, images = render(
        gaussians,
        shape,
        camera,
        width,
        height,
        color,
        radii_stride=settings.radii_stride,
        differentiable=wants_gradient,
    )
    pictures = [torch.from_numpy(image).view(height, width) for image in images[1:]]
    return Rendering(
        settings,
        inputs,
        (torch.from_numpy(images.colors).view(height, width, 3), *pictures[:3]),
        pictures[3],
        torch.from_numpy(frame.projection.radii),
        torch.from_numpy(frame.projection.means2d).view(-1, 2),
        frame,
        wants_gradient,
    )


def check_inputs(**tensors: Tensor) -> None:
    """Raise BackendError unless all tensors are float32 on the CPU."""
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise BackendError(f"cpu rasteriser: {name} must be a tensor, found {type(tensor).__name__}")
        if tensor.device.type != "cpu" or tensor.dtype != torch.float32:
            raise BackendError(
                f"cpu rasteriser: {name} is {tensor.dtype} on {tensor.device}; give float32 on the CPU, "
                "or choose another backend (gsplat on CUDA, reference for float64)"
            )


def flat(tensor: Tensor) -> NDArray[np.float32]:
    """The values of a tensor as a flat array, without a copy when it is contiguous."""
    return tensor.detach().contiguous().view(-1).numpy()


def as_gaussians(inputs: tuple[Tensor | None, ...], settings: RenderSettings) -> tuple[Gaussians, Shape]:
    """The arrays of the inputs as kernels read them."""
    means, quats, scales, opacities, features, rest = inputs
    assert means is not None and features is not None
    num, num_coefficients = means.shape[0], features.shape[1] if features.dim() == 3 else 1
    first = flat(features)
    if rest is None or num_coefficients > 1:
        further, num_rest, stride = first[3:], num_coefficients - 1, 3 * num_coefficients
        strides = stride, stride
    else:
        further, num_rest = flat(rest), rest.shape[1]
        strides = 3, 3 * num_rest
    assert quats is not None and scales is not None and opacities is not None
    gaussians = Gaussians(flat(means), flat(quats), flat(scales), flat(opacities), first, further)
    degree = PLAIN_COLORS if settings.sh_degree is None else settings.sh_degree
    assert (degree + 1) ** 2 <= num_rest + 1, "the kernels would read past the coefficients"
    return gaussians, Shape(num, *strides, num_rest, degree, settings.raw, settings.antialiased)


class _Rasterize(torch.autograd.Function):
    """Hands the finished images to autograd, and computes the gradients when they are asked for."""

    @staticmethod
    def forward(ctx: Any, rendering: Rendering, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        # The frame is saved like a tensor, so that its buffers are free again when autograd is done with the graph.
        ctx.save_for_backward(*inputs[1:], *rendering.images, rendering.transmittances, *rendering.frame.to_tensors())
        ctx.settings, ctx.absolute = rendering.settings, rendering.absolute
        return rendering.images

    @staticmethod
    def backward(ctx: Any, *output_grads: Tensor | None) -> tuple[Any, ...]:
        saved, settings, wants = ctx.saved_tensors, ctx.settings, ctx.needs_input_grad[2:]
        inputs, images = saved[:8], Images(*map(flat, saved[8:13]))
        gaussians, shape = as_gaussians(inputs[:6], settings)
        frame = Frame.from_tensors(saved[13:], settings, shape)
        image_grads = Images(*(NO_FLOATS if grad is None else flat(grad) for grad in (*output_grads, None)))
        grads, arrays = gradient_buffers(inputs)
        size, absolute = 2 * shape.num_gaussians, ctx.absolute
        pixel_grads = PixelGradients(
            workspace.take("means2d_gradient", size),
            NO_FLOATS if absolute is None else workspace.take("absolute_gradient", size),
        )
        pose = backward(frame, gaussians, images, image_grads, grads, pixel_grads, wants_pose=wants[6])
        if absolute is not None:
            absolute.add_(torch.from_numpy(pixel_grads.absolute).view(-1, 2))
        results: list[Tensor | None] = [
            torch.from_numpy(array).view(x.shape) for array, x in zip(arrays, inputs[:6], strict=False)
        ]
        results += [None] * (6 - len(results))
        results.append(viewmat_gradient(inputs[6], pose) if wants[6] else None)
        results.append(background_gradient(saved[12], output_grads[0]) if wants[7] else None)
        by_pixel = torch.from_numpy(pixel_grads.means2d).view(-1, 2)
        return None, by_pixel, *(result if want else None for result, want in zip(results, wants, strict=True))


def gradient_buffers(inputs: tuple[Tensor | None, ...]) -> tuple[Gaussians, list[NDArray[np.float32]]]:
    """Pooled arrays for the gradients, as kernels write them and one for each tensor."""
    names = ("means", "quats", "scales", "opacities", "features", "features_rest")
    arrays = [
        workspace.take(f"{name}_gradient", tensor.numel())
        for name, tensor in zip(names, inputs, strict=False)
        if tensor is not None
    ]
    rest = arrays[5] if len(arrays) > 5 else arrays[4][3:]
    return Gaussians._make([*arrays[:5], rest]), arrays


def viewmat_gradient(viewmat: Tensor, pose: NDArray[np.float64]) -> Tensor:
    """d loss / d viewmat: directly, and through the camera position, which is the last column of its inverse."""
    inverse = np.linalg.inv(viewmat.detach().double().numpy())
    with np.errstate(invalid="ignore"):  # a gradient that overflowed stays what it is: the trainer's check names it
        gradient = -np.outer(inverse[:3].T @ pose[12:15], inverse[:, 3])
    gradient[:3, :3] += pose[:9].reshape(3, 3)
    gradient[:3, 3] += pose[9:12]
    return torch.from_numpy(gradient).to(viewmat.dtype)


def background_gradient(transmittances: Tensor, colors_gradient: Tensor | None) -> Tensor | None:
    """d loss / d background [D]."""
    return None if colors_gradient is None else (transmittances.unsqueeze(-1) * colors_gradient).sum((0, 1))


def sparse_rows(rows: Tensor, ids: Tensor, num: int) -> Tensor:
    """A gradient [num, ...] in the COO layout that has `rows` [M, ...] at `ids` [M], which increase."""
    shape = (num, *rows.shape[1:])
    return torch.sparse_coo_tensor(ids[None], rows, shape, is_coalesced=True, check_invariants=False)
