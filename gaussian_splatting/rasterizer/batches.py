"""The tensors of one call of `gsplat.rasterization`, with any batch dimensions, taken apart into single views."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from torch import Tensor

from gaussian_splatting.errors import BackendError
from gaussian_splatting.rasterizer.arguments import check_focal_lengths


@dataclass(frozen=True)
class View:
    """What one camera is to show. Without colours, `colors` and `background` are zero."""

    means: Tensor  # [N, 3]
    quats: Tensor | None  # [N, 4]
    scales: Tensor | None  # [N, 3]
    opacities: Tensor  # [N]
    colors: Tensor  # [N, D] or [N, K, 3]
    viewmat: Tensor  # [4, 4]
    K: Tensor  # [3, 3]
    background: Tensor  # [D]
    covars: Tensor | None  # [N, 3, 3]


@dataclass(frozen=True)
class Batch:
    """Tensors that fit together: N Gaussians in each batch, and C cameras."""

    means: Tensor  # [..., N, 3]
    quats: Tensor | None  # [..., N, 4]
    scales: Tensor | None  # [..., N, 3]
    opacities: Tensor  # [..., N]
    colors: Tensor  # [..., (C,) N, D] or [..., (C,) N, K, 3]
    viewmats: Tensor  # [..., C, 4, 4]
    Ks: Tensor  # [..., C, 3, 3]
    backgrounds: Tensor | None  # [..., C, D]
    covars: Tensor | None  # [..., N, 3, 3]
    sh_degree: int | None

    def __post_init__(self) -> None:
        """Refuse what does not fit together or is no camera, with a BackendError that names argument and cause."""
        if self.means.ndim < 2 or self.viewmats.ndim < 3:
            raise BackendError(
                f"means must be [..., N, 3] and viewmats [..., C, 4, 4], found {list(self.means.shape)} and "
                f"{list(self.viewmats.shape)}"
            )
        self._check_colors()
        if not prod((*self.leading, self.num_cameras)) or not self.num_channels:
            raise BackendError(
                f"viewmats {list(self.viewmats.shape)} and colors {list(self.colors.shape)} leave nothing to render: "
                "at least one batch, one camera and one channel are needed"
            )
        for name, shape in self._shapes().items():
            tensor = getattr(self, name)
            if tensor is None and (name in ("covars", "backgrounds") or self.covars is not None):
                continue
            found = None if tensor is None else list(tensor.shape)
            if found != [*self.leading, *shape]:
                wanted = [*self.leading, *shape]
                raise BackendError(f"{name} must be {wanted} beside {list(self.means.shape)} means, found {found}")
        check_focal_lengths(self.Ks)

    @property
    def leading(self) -> tuple[int, ...]:
        """The batch dimensions."""
        return tuple(self.means.shape[:-2])

    @property
    def num_cameras(self) -> int:
        """Cameras of each batch."""
        return self.viewmats.shape[-3]

    @property
    def num_channels(self) -> int:
        """Channels of the colours that are rendered."""
        return self.colors.shape[-1]

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        num, cameras = self.means.shape[-2], self.num_cameras
        shapes: dict[str, tuple[int, ...]] = {"means": (num, 3)}
        if self.covars is None:
            shapes |= {"quats": (num, 4), "scales": (num, 3)}
        shapes |= {"covars": (num, 3, 3), "opacities": (num,), "viewmats": (cameras, 4, 4), "Ks": (cameras, 3, 3)}
        return shapes | {"backgrounds": (cameras, self.num_channels)}

    def _has_own_colors(self) -> bool:
        value_dims = 1 if self.sh_degree is None else 2  # [D], or [K, 3]
        return self.colors.ndim == len(self.leading) + 2 + value_dims

    def _check_colors(self) -> None:
        num, cameras, shape = self.means.shape[-2], self.num_cameras, tuple(self.colors.shape)
        value_dims = 1 if self.sh_degree is None else 2
        if shape[: len(shape) - value_dims] not in ((*self.leading, num), (*self.leading, cameras, num)):
            wanted = "[..., N, D] or [..., C, N, D]" if value_dims == 1 else "[..., N, K, 3] or [..., C, N, K, 3]"
            raise BackendError(
                f"colors must be {wanted} with N = {num}, C = {cameras} and sh_degree {self.sh_degree}, "
                f"found {list(shape)}"
            )
        if self.sh_degree is not None and (shape[-1] != 3 or shape[-2] < (self.sh_degree + 1) ** 2):
            raise BackendError(
                f"colors {list(shape)} hold too few coefficients for sh_degree {self.sh_degree}: "
                f"[N, K, 3] with K >= {(self.sh_degree + 1) ** 2} is needed"
            )

    def views(self, *, with_colors: bool) -> Iterator[View]:
        """All views, batch after batch."""
        zeros = self.means.new_zeros(3)
        for index in range(prod(self.leading)):
            means, quats, scales, opacities, covars, colors, viewmats, Ks, backgrounds = (
                self._part(value, index)
                for value in (self.means, self.quats, self.scales, self.opacities, self.covars, self.colors,
                              self.viewmats, self.Ks, self.backgrounds)
            )  # fmt: skip
            assert means is not None and opacities is not None and viewmats is not None and Ks is not None
            assert colors is not None
            for camera in range(self.num_cameras):
                shown, behind = means.new_zeros(len(means), 3), zeros
                if with_colors:
                    shown = colors[camera] if self._has_own_colors() else colors
                    behind = means.new_zeros(self.num_channels) if backgrounds is None else backgrounds[camera]
                yield View(means, quats, scales, opacities, shown, viewmats[camera], Ks[camera], behind, covars)

    def _part(self, value: Tensor | None, index: int) -> Tensor | None:
        if value is None or not self.leading:
            return value
        return value.flatten(0, len(self.leading) - 1)[index]
