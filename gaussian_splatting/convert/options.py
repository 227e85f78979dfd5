"""What a conversion may be asked for: declared once, checked where it is declared."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from gaussian_splatting.errors import SplatError

CAMERA_MODELS = (
    "SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV",
    "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "OPENCV_FISHEYE", "FOV", "THIN_PRISM_FISHEYE",
)  # fmt: skip
"""Camera models of COLMAP that can be undistorted."""

CAMERAS = ("auto", "single", "photo")
MATCHERS = ("auto", "exhaustive", "sequential", "preselected")
MAPPERS = ("incremental", "global")
DEVICES = ("auto", "cpu", "cuda")

ENOUGH_FOR_OPENCV = 30
"""Photos from which `auto` trusts them to determine the eight numbers of OPENCV; fewer get SIMPLE_RADIAL."""


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """The choices of a conversion. Raises SplatError for a value that is none of those it lists."""

    camera_model: str = "auto"
    """A model of `CAMERA_MODELS`, or auto: OPENCV from 30 photos on, else SIMPLE_RADIAL."""
    cameras: str = "auto"
    """auto: photos of the same folder, size, device and focal length share a camera; single: all; photo: none."""
    max_size: int = 1600
    """Longest side in pixels of the pictures of the scene; larger ones are scaled down. 0: never."""
    frames: int | None = None
    """Frames to take from each video; None chooses by its length."""
    matcher: str = "auto"
    """Which pairs are compared: all, neighbours in a sequence, or those that look alike; auto chooses by count."""
    mapper: str = "incremental"
    """incremental: photo after photo; global: all at once, faster for hundreds of photos."""
    undistort: bool = True
    """Straighten the pictures; without it, they and the distorted model are written as they are."""
    max_features: int = 8192
    """Most features per photo."""
    seed: int = 0
    """Where the random draws of the reconstruction begin."""
    threads: int | None = None
    """Processor threads of features, matches and pictures; None for all. Their number does not change the result."""
    mapper_threads: int = 1
    """Processor threads of the mapper. More are faster for hundreds of photos, but the last bits then differ from run
    to run, and with them now and then a point or a photo."""
    device: str = "auto"
    """Where features are found and compared; auto is CUDA where pycolmap was built for it and a card is there."""
    accept: bool = False
    """Write the scene even when its own judgement is against it."""

    def __post_init__(self) -> None:
        _require("camera_model", self.camera_model, ("auto", *CAMERA_MODELS))
        _require("cameras", self.cameras, CAMERAS)
        _require("matcher", self.matcher, MATCHERS)
        _require("mapper", self.mapper, MAPPERS)
        _require("device", self.device, DEVICES)
        if self.max_size != 0 and self.max_size < 64:
            raise SplatError(f"max_size {self.max_size}: pictures need at least 64 pixels; give 0 to keep their size")
        if self.frames is not None and self.frames < 3:
            raise SplatError(f"frames {self.frames}: a scene needs at least 3; 100 is usual")
        if self.max_features < 128:
            raise SplatError(f"max_features {self.max_features}: at least 128 are needed; 8192 is usual")

    def part(self, *names: str) -> dict[str, Any]:
        """The named choices: what the result of a stage depends on."""
        values = asdict(self)
        return {name: values[name] for name in names}

    def model_for(self, num_photos: int) -> str:
        """The camera model for a scene of this many photos."""
        if self.camera_model != "auto":
            return self.camera_model
        return "OPENCV" if num_photos >= ENOUGH_FOR_OPENCV else "SIMPLE_RADIAL"


def _require(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise SplatError(f"{name} {value!r} is none of {', '.join(known)}")
