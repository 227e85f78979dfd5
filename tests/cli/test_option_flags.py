"""The table of flags is that of the classes; `--help` is quick because it needs nothing else."""

from __future__ import annotations

import subprocess
import sys

from gaussian_splatting.cli.option_flags import flag_table, make_flag_table


def test_the_stored_flags_are_those_of_the_option_classes():
    assert flag_table() == make_flag_table(), "run python tools/make_flag_table.py and look at the difference"


def test_the_help_of_train_imports_neither_torch_nor_numpy():
    code = (
        "import sys; from gaussian_splatting.train import main; status = main(['--help']); "
        "print('imported:', [name for name in ('torch', 'numpy', 'numba') if name in sys.modules], status)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "imported: [] 0"
    assert "--densify_grad_threshold VALUE" in result.stdout
    assert "mean screen gradient (NDC) from which a Gaussian is cloned" in " ".join(result.stdout.split())
