"""From Gaussians to triangles: rendered depth maps are fused into a truncated signed distance, and its zero is meshed.

Curless and Levoy 1996, in the sparse voxel blocks of Open3D (Dong et al. 2021, ASH). Depth is along the optical axis,
the first pixel centre at 0.5, everything in world units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from gaussian_splatting import environment
from gaussian_splatting.errors import SceneError, SplatError
from gaussian_splatting.geometry.arrays import float64_array
from gaussian_splatting.io.mesh_files import Mesh
from gaussian_splatting.open3d_library import open3d_library

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera
    from gaussian_splatting.gaussian_model import GaussianModel

Floats = NDArray[np.float32]

TRUNCATION_IN_VOXELS = 5.0
LEAST_ALPHA = 0.5

SAMPLED_VIEWS, SAMPLED_PIXELS = 12, 4096
FARTHEST_IN_MEDIANS = 8.0
BLOCK = 16
BYTES_PER_BLOCK = BLOCK**3 * 20  # a distance, a weight and three colours, float32
MOST_MEMORY = 8 << 30
BLOCKS_PER_SURFACE_BLOCK = 3.0
"""The band on both sides of the surface reaches into neighbours."""


@dataclass(frozen=True)
class FusionSettings:
    """How finely and how far surfaces are fused, in world units."""

    voxel_size: float
    truncation: float
    """How far from a surface a depth map still speaks about space."""
    depth_max: float
    """What is farther from a camera is left out of its depth map."""


@dataclass(frozen=True)
class DepthView:
    """One rendered view: what is seen and how far away."""

    camera: Camera
    color: Floats  # [H, W, 3] in [0, 1]
    depth: Floats  # [H, W]; 0 where nothing is known

    @property
    def intrinsics(self) -> NDArray[np.float64]:
        """[3, 3] with the first pixel centre at 0.5."""
        return float64_array(self.camera.K)

    @property
    def camera_from_world(self) -> NDArray[np.float64]:
        """[4, 4]."""
        return self.camera.world_view_transform.detach().double().T.cpu().numpy()


@torch.no_grad()
def depth_view(gaussians: GaussianModel, camera: Camera) -> DepthView:
    """Render one view. Pixels that are half transparent have no depth."""
    out = gaussians(camera)
    depth = (out["render_median"] if "render_median" in out else out["depth"])[0]
    alpha = out["alpha"][0]
    known = (alpha > LEAST_ALPHA) & torch.isfinite(depth) & (depth > 0)
    behind = camera.bg_color.to(alpha)[:, None, None] * (1 - alpha)  # no part of the surface
    color = ((out["render"] - behind) / alpha.clamp_min(1e-6)).clamp(0, 1).permute(1, 2, 0).contiguous()
    return DepthView(camera, color.float().cpu().numpy(), torch.where(known, depth, 0).float().cpu().numpy())


def default_settings(
    gaussians: GaussianModel,
    cameras: Sequence[Camera],
    *,
    voxel_size: float | None = None,
    truncation: float | None = None,
    depth_max: float | None = None,
) -> FusionSettings:
    """Settings that fit a scene, found from a dozen of its views; what is given stays as it is.

    Depths count up to the farthest percent, and up to 8 times their median: the sky is no surface. A voxel is as large
    as a pixel at the median depth, or larger where voxels would take more than half of the free memory.
    """
    chosen = np.unique(np.linspace(0, len(cameras) - 1, SAMPLED_VIEWS).round().astype(int))
    clouds = [cloud for index in chosen if len(cloud := _sampled(depth_view(gaussians, cameras[index])))]
    if not clouds:
        raise SceneError(
            "no view shows a surface: nothing is opaque in front of the cameras; check the scene, or --mode"
        )
    depths = np.concatenate([cloud[:, 3] for cloud in clouds])
    middle = float(np.median(depths))
    farthest = depth_max or min(1.02 * float(np.percentile(depths, 99)), FARTHEST_IN_MEDIANS * middle)
    near = np.concatenate(clouds)[depths <= farthest, :3]
    focal = float(np.median([float(cameras[index].K[0, 0]) for index in chosen]))
    voxel = voxel_size or _affordable(middle / focal, near)
    return FusionSettings(voxel, truncation or TRUNCATION_IN_VOXELS * voxel, farthest)


def _sampled(view: DepthView) -> NDArray[np.float64]:  # [P, 4]
    """Points in the world and their depths, evenly from the pixels that have one."""
    rows, columns = np.nonzero(view.depth)
    some = slice(None, None, max(1, len(rows) // SAMPLED_PIXELS))
    rows, columns = rows[some], columns[some]
    depth = view.depth[rows, columns].astype(np.float64)
    pixels = np.stack((columns + 0.5, rows + 0.5, np.ones(len(rows))))
    local = (np.linalg.inv(view.intrinsics) @ pixels).T * depth[:, None]
    pose = view.camera_from_world
    return np.concatenate(((local - pose[:3, 3]) @ pose[:3, :3], depth[:, None]), axis=1)


def _affordable(voxel: float, points: NDArray[np.float64]) -> float:
    """A voxel at least that large with which the blocks around these points fit into memory."""
    free = environment.available_memory()
    budget = MOST_MEMORY if free is None else min(MOST_MEMORY, free // 2)
    while num_blocks(points, voxel) * BYTES_PER_BLOCK > budget:
        voxel *= 1.25
    return voxel


def num_blocks(points: NDArray[np.float64], voxel: float) -> int:
    """About how many blocks of voxels of side `voxel` the surface through some of its `points` [N, 3] touches."""
    cells = np.unique(np.floor(points / (BLOCK * voxel)).astype(np.int64), axis=0)
    return int(len(cells) * BLOCKS_PER_SURFACE_BLOCK) + 1


def fuse(views: Iterable[DepthView], settings: FusionSettings, *, min_views: int = 2) -> Mesh:
    """The surface that depth views agree on. Raises SplatError where they show none.

    A voxel counts once `min_views` views have seen it; fewer leave more noise, more leave more holes.
    """
    o3d = open3d_library()
    grid = _empty_grid(o3d, settings)
    for view in views:
        _integrate(o3d, grid, view, settings)
    if grid.hashmap().size() == 0:
        raise SplatError(f"no view has a surface nearer than {settings.depth_max:g}; give a larger --depth_max")
    surface = grid.extract_triangle_mesh(min_views - 0.5)  # Open3D wants more than the threshold
    if surface.is_empty() or "indices" not in surface.triangle or len(surface.triangle.indices) == 0:
        raise SplatError(
            f"no surface is seen by {min_views} views in voxels of {settings.voxel_size:g}; give --min_views 1, "
            "another --voxel_size, or more cameras"
        )
    return _to_mesh(surface)


def _empty_grid(o3d: Any, settings: FusionSettings) -> Any:
    core = o3d.core
    return o3d.t.geometry.VoxelBlockGrid(
        ("tsdf", "weight", "color"), (core.float32, core.float32, core.float32), ((1), (1), (3)),
        settings.voxel_size, BLOCK, 10_000, core.Device("CPU:0"),
    )  # fmt: skip


def _integrate(o3d: Any, grid: Any, view: DepthView, settings: FusionSettings) -> None:
    depth_map = np.where(view.depth <= settings.depth_max, view.depth, 0)
    if not depth_map.any():  # Open3D refuses a view without depths
        return
    depth, color = (o3d.t.geometry.Image(o3d.core.Tensor(values.copy())) for values in (depth_map, view.color))
    intrinsics = view.intrinsics
    intrinsics[:2, 2] -= 0.5  # Open3D has the first pixel centre at 0
    lens, pose = o3d.core.Tensor(intrinsics), o3d.core.Tensor(view.camera_from_world)
    band = settings.truncation / settings.voxel_size
    try:
        blocks = grid.compute_unique_block_coordinates(depth, lens, pose, 1.0, settings.depth_max, band)
    except RuntimeError as error:
        if "No block is touched" in str(error):  # it looks at every fourth pixel only, and none of these has a depth
            return
        raise
    grid.integrate(blocks, depth, color, lens, pose, 1.0, settings.depth_max, band)


def _to_mesh(surface: Any) -> Mesh:
    colors = np.clip(np.rint(surface.vertex.colors.numpy() * 255), 0, 255).astype(np.uint8)
    normals = surface.vertex.normals.numpy().astype(np.float32)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = normals / np.where(lengths > 0, lengths, 1)
    vertices = surface.vertex.positions.numpy().astype(np.float32)
    return Mesh(vertices, normals, colors, surface.triangle.indices.numpy().astype(np.int32))


def without_fragments(mesh: Mesh, share: float) -> tuple[Mesh, int]:
    """The mesh without its connected pieces of fewer triangles than this share of the largest; how many they were."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    number = len(mesh.vertices)
    edges = np.concatenate((mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]]))
    graph = coo_matrix((np.ones(len(edges), np.uint8), (edges[:, 0], edges[:, 1])), shape=(number, number))
    _, labels = connected_components(graph, directed=False)
    pieces = labels[mesh.faces[:, 0]]
    sizes = np.bincount(pieces)
    kept = sizes >= max(1, share * sizes.max())
    return mesh.with_faces(kept[pieces]), int((sizes > 0).sum() - (kept & (sizes > 0)).sum())


def simplified(mesh: Mesh, num_faces: int) -> Mesh:
    """About `num_faces` triangles with the same shape, by quadric error (Garland and Heckbert 1997)."""
    if len(mesh) <= num_faces:
        return mesh
    o3d = open3d_library()
    vector = o3d.utility.Vector3dVector
    full = o3d.geometry.TriangleMesh(vector(mesh.vertices.astype(np.float64)), o3d.utility.Vector3iVector(mesh.faces))
    full.vertex_colors = vector(mesh.colors / 255.0)
    small = full.simplify_quadric_decimation(num_faces)
    small.compute_vertex_normals()
    return Mesh(
        np.asarray(small.vertices, np.float32),
        np.asarray(small.vertex_normals, np.float32),
        np.clip(np.rint(np.asarray(small.vertex_colors) * 255), 0, 255).astype(np.uint8),
        np.asarray(small.triangles, np.int32),
    )


def depth_views(
    gaussians: GaussianModel, cameras: Sequence[Camera], tick: Callable[[], object] = lambda: None
) -> Iterator[DepthView]:
    """Every camera's view, one at a time; `tick` is called after each."""
    for index in range(len(cameras)):
        yield depth_view(gaussians, cameras[index])
        tick()
