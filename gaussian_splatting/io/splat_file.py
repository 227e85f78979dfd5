"""What a splat file holds, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass

from gaussian_splatting.io.gaussian_arrays import GaussianArrays


@dataclass(frozen=True, eq=False)
class SplatFile:
    """The Gaussians of a file, in the axes and units of PLY, and what its header says about them."""

    gaussians: GaussianArrays
    format: str
    """The format in words, with its version where there are several: "SPZ 3"."""
    antialiased: bool | None = None
    """Whether the Gaussians were trained with anti-aliasing; None when the format does not say."""

    def __len__(self) -> int:
        return len(self.gaussians)
