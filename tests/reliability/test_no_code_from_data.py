"""No file and no option can run code: what could do it is not in the package, and the linter keeps it out."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "gaussian_splatting"

NEVER = {"eval", "exec", "__import__", "os.system", "os.popen", "os.spawnl", "torch.load", "joblib.load", "yaml.load"}
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}


def dangers(source: str) -> list[str]:
    """What runs code out of data, as `line: code`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            bad = any(name.partition(".")[0] in MODULES for name in names)
        elif isinstance(node, ast.Call):
            bad = ast.unparse(node.func) in NEVER or any(map(is_dangerous, node.keywords))
        else:
            bad = False
        if bad:
            found.append(f"{node.lineno}: {ast.unparse(node)[:80]}")
    return found


def is_dangerous(keyword: ast.keyword) -> bool:
    """`allow_pickle` and `shell` may only be False."""
    off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
    return keyword.arg in ("allow_pickle", "shell") and not off


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_in_the_package_runs_what_it_reads(path: Path) -> None:
    assert dangers(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "eval(text)", "exec(text)", "import pickle", "from pickle import loads", "import os; os.system(x)",
        "torch.load(path)", "torch.load(path, weights_only=True)", "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)", "subprocess.run(line, shell=True)", "yaml.load(x)", "import joblib",
    ],
)  # fmt: skip
def test_what_would_is_found(source: str) -> None:
    """The controls."""
    assert dangers(source) != []


@pytest.mark.parametrize(
    "source", ["np.load(path)", "np.load(path, allow_pickle=False)", "subprocess.run(['ls'])", "a.eval()"]
)
def test_what_would_not_is_left_alone(source: str) -> None:
    assert dangers(source) == []


def test_the_linter_keeps_its_rules_about_security() -> None:
    tomllib = pytest.importorskip("tomllib")  # since Python 3.11
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["tool"]["ruff"]["lint"]
    assert "S" in settings["select"]
    for ignored in [
        settings["ignore"],
        *(v for k, v in settings["per-file-ignores"].items() if not k.startswith("tests/")),
    ]:
        assert {name for name in ignored if name.startswith("S") and name[1:].isdigit()} <= {
            "S101",
            "S603",
            "S607",
            "S311",
        }
