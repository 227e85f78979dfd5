"""One lens of every model."""

from __future__ import annotations

from gaussian_splatting.dataset.lenses import Lens

LENSES = [
    Lens("SIMPLE_PINHOLE", 640, 480, (500.0, 330.0, 230.0)),
    Lens("PINHOLE", 640, 480, (500.0, 510.0, 330.0, 230.0)),
    Lens("SIMPLE_RADIAL", 640, 480, (500.0, 330.0, 230.0, -0.1)),
    Lens("RADIAL", 640, 480, (500.0, 320.0, 240.0, -0.2, 0.05)),
    Lens("OPENCV", 640, 480, (500.0, 510.0, 320.0, 240.0, -0.25, 0.1, 0.002, -0.003)),
    Lens("FULL_OPENCV", 640, 480, (500.0, 510.0, 320.0, 240.0, -0.2, 0.05, 1e-3, -2e-3, 0.01, 0.02, -0.03, 0.004)),
    Lens("OPENCV_FISHEYE", 640, 480, (300.0, 310.0, 320.0, 240.0, -0.02, 0.01, 0.003, -0.001)),
    Lens("SIMPLE_RADIAL_FISHEYE", 640, 480, (300.0, 320.0, 240.0, 0.02)),
    Lens("RADIAL_FISHEYE", 640, 480, (300.0, 320.0, 240.0, 0.02, -0.01)),
    Lens(
        "THIN_PRISM_FISHEYE", 640, 480, (300.0, 310.0, 320.0, 240.0, 0.02, -0.01, 1e-3, 2e-3, 1e-3, 5e-4, 3e-3, -2e-3)
    ),
    Lens("FOV", 640, 480, (500.0, 510.0, 320.0, 240.0, 0.8)),
]
