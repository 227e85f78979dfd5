"""How large the picture may be while somebody moves: as large as the wanted frame rate allows."""

from __future__ import annotations

import math

TARGET_SECONDS = 1 / 15
SMALLEST = 0.15
MOST_CHANGE = 1.5


class Pace:
    """Adapts the share of the full width and height to the time that frames take."""

    def __init__(self, target: float = TARGET_SECONDS) -> None:
        self.target = target
        self.scale = 0.5

    def took(self, seconds: float, scale: float, clients: int = 1) -> None:
        """Learn from a frame of `scale` that took `seconds` while `clients` were moving at once."""
        wanted = self.target / max(1, clients)
        # Time grows at most with the number of pixels, so the square root does not overshoot.
        factor = math.sqrt(wanted / max(seconds, 1e-6))
        factor = min(MOST_CHANGE, max(1 / MOST_CHANGE, factor))
        self.scale = min(1.0, max(SMALLEST, scale * factor))

    def size(self, width: int, height: int) -> tuple[int, int]:
        """The size of the next moving frame."""
        return max(1, round(width * self.scale)), max(1, round(height * self.scale))
