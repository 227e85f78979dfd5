"""The crop of one client: a box along the axes of the world, outside of which Gaussians are not shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gaussian_splatting.viewer.stage import Box, bounds

if TYPE_CHECKING:
    from gaussian_splatting.viewer.controls import Controls
    from gaussian_splatting.viewer.session import Session


class CropPanel:
    """The controls of the crop."""

    def __init__(self, session: Session, controls: Controls) -> None:
        self.session, self._controls, gui = session, controls, session.client.gui
        box = bounds(session.model)
        step = max(1e-4, float(np.ptp([box.low, box.high], axis=0).max()) / 500)
        self.crop = gui.add_checkbox("Crop", False, hint="show only Gaussians whose centres lie in the box")
        self.low = gui.add_vector3("From", box.low, step=step)
        self.high = gui.add_vector3("To", box.high, step=step)
        self.outline = gui.add_checkbox("Show the box", True)
        for control in (self.crop, self.low, self.high, self.outline):
            controls.on_change(control, self._changed)
        controls.on_click(gui.add_button("Whole scene"), lambda: self._set_box(bounds(session.model)))

    def _set_box(self, box: Box) -> None:
        self._controls.put(self.low, box.low)
        self._controls.put(self.high, box.high)

    def _changed(self) -> None:
        low, high = np.minimum(self.low.value, self.high.value), np.maximum(self.low.value, self.high.value)
        box = Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))
        scene = self.session.client.scene
        if self.crop.value and self.outline.value:
            edges = box_edges(low, high)
            scene.add_line_segments("/crop", edges, (255, 170, 0), thickness=1.5, thickness_units="screen")
        else:
            scene.remove_by_name("/crop")
        self.session.change(crop=box if self.crop.value else None)


def box_edges(low: Any, high: Any) -> np.ndarray:
    """The edges [12, 2, 3] of the box between two corners [3]."""
    corners = np.array([[(low, high)[bit >> axis & 1][axis] for axis in range(3)] for bit in range(8)])
    pairs = [(a, a | 1 << axis) for a in range(8) for axis in range(3) if not a >> axis & 1]
    return np.array([[corners[a], corners[b]] for a, b in pairs], dtype=np.float32)
