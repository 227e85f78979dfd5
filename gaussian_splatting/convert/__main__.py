"""`python -m gaussian_splatting.convert`: photos or a video into a scene that `train` reads."""

import sys

from gaussian_splatting.convert.command import main

if __name__ == "__main__":
    sys.exit(main())
