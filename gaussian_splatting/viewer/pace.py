"""How much of the picture is drawn while somebody moves: as many pixels, and Gaussians, as the frame rate allows."""

from __future__ import annotations

import math

TARGET_SECONDS = 1 / 15
SMALLEST, SMALL, LARGE = 0.15, 0.3, 0.6
MOST_CHANGE = 1.5
MOST_HALVINGS = 4


class Pace:
    """Adapts the share of the full width and height to the time that frames take, and if need be that of Gaussians.

    Every Gaussian is projected whatever the size of the picture, so large scenes need both.
    """

    def __init__(self, target: float = TARGET_SECONDS) -> None:
        self.target = target
        self.scale = 0.5
        self.halvings = 0

    @property
    def part(self) -> float:
        """The share of the Gaussians to draw, those that cover most first."""
        return 0.5**self.halvings

    def took(self, seconds: float, scale: float, clients: int = 1) -> None:
        """Learn from a frame of `scale` that took `seconds` while `clients` were moving at once."""
        wanted = self.target / max(1, clients)
        # Time grows at most with the number of pixels, so the square root does not overshoot.
        factor = math.sqrt(wanted / max(seconds, 1e-6))
        factor = min(MOST_CHANGE, max(1 / MOST_CHANGE, factor))
        self.scale = min(1.0, max(SMALLEST, scale * factor))
        if clients == 1:
            self._choose_part(seconds)

    def _choose_part(self, seconds: float) -> None:
        if self.scale <= SMALL and seconds > 1.2 * self.target:
            self.halvings = min(MOST_HALVINGS, self.halvings + 1)
        elif self.halvings and self.scale >= LARGE and seconds < 0.5 * self.target:
            self.halvings -= 1

    def size(self, width: int, height: int) -> tuple[int, int]:
        """The size of the next moving frame."""
        return max(1, round(width * self.scale)), max(1, round(height * self.scale))
