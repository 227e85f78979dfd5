"""The shipped demo scene: a still life, the ray tracer that photographs it, and the writer of its dataset.

Axes of the world: x and y along the table top, z up, the table top at z = 0; one unit is about half a metre.
Cameras follow COLMAP: x right, y down, z forward, the first pixel centre at 0.5.
"""
