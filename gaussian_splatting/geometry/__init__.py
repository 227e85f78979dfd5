"""Pure functions over tensors: spherical harmonics, rotations, projection, neighbours, schedules."""
