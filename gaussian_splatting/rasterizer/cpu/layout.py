"""The sizes and memory layouts that the kernels agree on. Numba freezes these numbers into the machine code."""

from __future__ import annotations

LANES = 16
"""Float32 values in one SIMD vector."""

TILE = 32
"""Edge of a screen tile in pixels: one list of Gaussians, one unit of work."""
BLOCK = 4
"""Edge of a pixel block: its 16 pixels are the lanes of one vector."""
BLOCKS_PER_ROW = TILE // BLOCK
BLOCKS = BLOCKS_PER_ROW * BLOCKS_PER_ROW  # 64, so that one integer holds a bit for each block
BATCH = 128
"""Entries of a tile list that are culled and blended together."""

PROJECT_CHUNK = 2048
"""Gaussians projected by one unit of work."""
SORT_CHUNK = 16384
"""Gaussians sorted and binned by one unit of work, at least."""
MAX_SORT_CHUNKS = 64

ALPHA_MIN = 1.0 / 255.0
"""A weaker contribution is skipped, as in the 3DGS paper."""
ALPHA_MAX = 0.999
TRANSMITTANCE_MIN = 1e-4
"""A pixel is finished when the next Gaussian would take its transmittance to this or below."""
LOG2_E = 1.4426950408889634
LN_2 = 0.6931471805599453
LOG2_255 = 7.994353436858858

# One projected Gaussian: 16 floats, one cache line. The conic and the opacity are scaled by log2(e), so that
# alpha = 2 ** (LOG_OPACITY - CONIC_XX dx^2 - CONIC_XY dx dy - CONIC_YY dy^2).
MEAN_X, MEAN_Y, CONIC_XX, CONIC_XY, CONIC_YY, LOG_OPACITY, RED, GREEN, BLUE, DEPTH = range(10)
# The ellipse on which alpha falls to ALPHA_MIN, a little enlarged for rounding: at height dy it reaches from
# SLOPE_X dy - w to SLOPE_X dy + w with w = HALF_WIDTH sqrt(1 - (dy / EXTENT_Y)^2), furthest to the right at PEAK_Y.
PEAK_Y, SLOPE_X, HALF_WIDTH, INVERSE_EXTENT_Y, EXTENT_Y = range(10, 15)
INVERSE_DEPTH = 15

# One gradient record, per Gaussian and tile: sums over pixels of v = d loss / d ln(alpha) and of w = alpha T, and of
# the magnitudes |d loss / d pixel position|. Lanes 12 to 15 are not used.
SUM_V, SUM_V_DX, SUM_V_DY, SUM_DEPTH = range(4)
SUM_V_DX2, SUM_V_DX_DY, SUM_V_DY2, ABS_X = range(4, 8)
SUM_RED, SUM_GREEN, SUM_BLUE, ABS_Y = range(8, 12)

# The camera, as one array of floats.
ROTATION, TRANSLATION, FOCAL_X, FOCAL_Y, CENTER_X, CENTER_Y, POSITION = 0, 9, 12, 13, 14, 15, 16
SLOPE_LOW_X, SLOPE_HIGH_X, SLOPE_LOW_Y, SLOPE_HIGH_Y, BLUR = 19, 20, 21, 22, 23
NEAR, FAR, RADIUS_CLIP, SCALE_MODIFIER, IMAGE_WIDTH, IMAGE_HEIGHT = 24, 25, 26, 27, 28, 29
CAMERA_SIZE = 32

# Sums of the pose gradient: d loss / d R (9), d loss / d t (3), d loss / d camera position (3).
POSE_SIZE = 15
