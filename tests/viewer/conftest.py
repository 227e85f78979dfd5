"""A small run with two iterations, and a viewer of it."""

from __future__ import annotations

import pytest

pytest.importorskip("viser", reason="the viewer needs the extra 'viewer'")
