"""The error family. Every message says what went wrong, where, what was found, and what to do about it."""

from __future__ import annotations


class SplatError(ValueError):
    """Anything this package refuses. Commands print the message on one or two lines and exit with status 2."""


class SceneError(SplatError):
    """The scene (cameras, pictures, points, masks, depth maps) cannot be used as it is."""


class FormatError(SplatError):
    """A file is damaged, or is not of the format it claims to be."""


class CheckpointError(SplatError):
    """A checkpoint cannot be loaded, or does not belong to this run."""


class TrainingError(SplatError):
    """Training cannot go on without spoiling its result."""


class BackendError(SplatError):
    """The chosen rasteriser backend is missing, or does not support what was asked."""


class UnsupportedError(BackendError, NotImplementedError):
    """A backend cannot do what another one can; the message names the argument."""
