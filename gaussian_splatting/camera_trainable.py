"""Models whose render carries the gradient on to the pose of the camera."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaussian_splatting.gaussian_model import GaussianModel

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera
    from gaussian_splatting.rasterizer.contract import RasterView


class CameraTrainable(GaussianModel):
    """Adds the gradient of the pose to a model: the render depends on `camera.world_view_transform`.

    The gradient takes one way, through the view matrix of the rasteriser, and so it is counted once. The camera must
    come from a dataset that computes its matrices from parameters, such as `TrainableCameraDataset`.
    """

    camera_trainable = True

    def raster_view(self, camera: Camera) -> RasterView:
        """The camera in the rasteriser's own type, with its pose as a variable."""
        return self._view_with_pose(camera, camera.world_view_transform.T)


class CameraTrainableGaussianModel(CameraTrainable):
    """`GaussianModel` that is optimised together with the poses of its cameras."""
