"""Write the checkpoint of the present format that the tests keep: run once for each version of the format.

python tools/make_checkpoint_fixture.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests" / "reliability")]


def main() -> int:
    """Train the toy of the tests for six steps and keep its last checkpoint."""
    from toy import toy_run

    from gaussian_splatting.io import checkpoint, storage

    path = REPOSITORY / "tests" / "reliability" / "fixtures" / f"checkpoint_format_{checkpoint.VERSION}.safetensors"
    if path.exists():
        print(f"{path.name} is there already; a released format never changes")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        toy_run(Path(folder) / "run", 6)
        storage.write_atomically(path, (Path(folder) / "run/checkpoints/step_000006.safetensors").read_bytes())
    print(f"{path}: {path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
