"""`python -m gaussian_splatting.viewer`."""

from __future__ import annotations

import sys

from gaussian_splatting.viewer.command import main

if __name__ == "__main__":
    sys.exit(main())
