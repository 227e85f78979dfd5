"""Writes flag_table.json from the option classes; run it after an option, a mode or a feature has changed."""

from __future__ import annotations

from gaussian_splatting.cli import option_flags
from gaussian_splatting.io import storage

if __name__ == "__main__":
    storage.write_json(option_flags.TABLE, option_flags.make_flag_table())
    print(f"written: {option_flags.TABLE}")
