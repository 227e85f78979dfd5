"""The memory layouts that the kernels of surfels add to those of the CPU backend.

A surfel's record is two lines of 16 floats. The first line is that of a 3D Gaussian (`cpu.layout`), whose ellipse here
bounds what the surfel covers: only what lies inside can reach an alpha of 1/255. It is used for culling, never for
colour. The second line says where a ray meets the surfel. With d the pixel relative to the projected centre,
(u, v) = (U d, V d) / (W d + W_0), in standard deviations.
"""

from __future__ import annotations

from gaussian_splatting.rasterizer.cpu.layout import LANES

RECORD = 2 * LANES
CENTER_X, CENTER_Y, U_X, U_Y, V_X, V_Y, W_X, W_Y, W_0 = range(LANES, LANES + 9)
FILTER_X, FILTER_Y = LANES + 9, LANES + 10  # middle of the low-pass filter
NORMAL_X, NORMAL_Y, NORMAL_Z = LANES + 11, LANES + 12, LANES + 13  # world, towards the camera

BOX_TILE = 16
"""Edge in pixels of the tiles to which gsplat cuts a surfel's box."""
BOX = 4
"""Integers of a box, in such tiles: first column, column behind the last, first row, row behind the last."""

# A gradient record, two lines as well: sums over pixels of g_u = d loss / d (U d) and its like, of v = d loss /
# d ln(alpha), also where the filter decides (f), and of w = alpha T times the gradients of the pixel.
SUM_U, SUM_U_DX, SUM_V, SUM_V_DX, SUM_W, SUM_W_DX, SUM_F, SUM_F_DX = range(8)
SUM_U_DY, SUM_V_DY, SUM_W_DY, SUM_F_DY = 8, 10, 12, 14
SUM_ALPHA, SUM_DEPTH, SUM_NORMAL_X, SUM_NORMAL_Y, SUM_NORMAL_Z = (LANES + lane for lane in (0, 4, 5, 6, 7))
# Red, green and blue stand where the shading of the CPU backend looks for them, in lanes 12 to 14 of the second line.
