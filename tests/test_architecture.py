"""The house keeps its order: imports point downwards only, and importing the package stays cheap."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "gaussian_splatting"

# Room -> floor. A module may import rooms of its own floor or lower.
FLOORS = {
    "errors": 0,
    "environment": 0,
    "options": 0,
    "io": 1,
    "geometry": 1,
    "rasterizer": 2,
    "losses": 3,
    "camera": 4,
    "gaussian_rows": 3,
    "gaussian_values": 3,
    "rendered_view": 3,
    "gaussian_model": 3,
    "camera_trainable": 3,
    "models": 3,
    "dataset": 4,
    "trainer": 5,
}
COMMANDS = 6
SAME_FLOOR_BARRED = {("io", "geometry"), ("geometry", "io"), ("losses", "gaussian_model"), ("gaussian_model", "losses")}


def rooms_imported(path: Path) -> set[str]:
    """Rooms that a module imports at run time, lazily or not; type-checking imports do not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {id(node) for guard in ast.walk(tree) if is_type_checking(guard) for node in ast.walk(guard)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom):
            found |= {room(name) for name in absolute_names(node, path)}
        elif isinstance(node, ast.Import):
            found |= {room(alias.name) for alias in node.names if alias.name.startswith("gaussian_splatting.")}
    return found - {""}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def absolute_names(node: ast.ImportFrom, path: Path) -> list[str]:
    parts = ["gaussian_splatting", *path.relative_to(PACKAGE).parts[:-1]]
    base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
    module = ".".join(part for part in (base, node.module or "") if part)
    if not module.startswith("gaussian_splatting"):
        return []
    return [f"{module}.{alias.name}" for alias in node.names] if module == "gaussian_splatting" else [module]


def room(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    floor = FLOORS.get(own, COMMANDS)
    for other in rooms_imported(path) - {own, "__init__", "__version__"}:
        assert FLOORS.get(other, COMMANDS) <= floor, f"{own} imports {other}, which lives above it"
        assert (own, other) not in SAME_FLOOR_BARRED, f"{own} must not know {other}"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_readable(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_import_brings_nothing_heavy():
    heavy = "torch numba scipy cv2 PIL gsplat open3d viser pycolmap plyfile tifffile tqdm"
    code = f"import sys, gaussian_splatting; print([m for m in {heavy.split()!r} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_trainers_import_no_kernels():
    code = "import sys, gaussian_splatting.trainer; print([m for m in ('numba', 'scipy', 'cv2') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("path", sorted((PACKAGE.parent / "tools").glob("*.py")), ids=lambda path: path.name)
def test_what_a_tool_takes_from_the_package_is_there(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gaussian_splatting"):
            module = importlib.import_module(str(node.module))
            for name in (alias.name for alias in node.names):
                held = hasattr(module, name) or importlib.util.find_spec(f"{node.module}.{name}") is not None
                assert held, f"{path.name} imports {name}, which {node.module} does not have"


def names_taken() -> set[str]:
    """Every name that a module of the package, a tool or a test imports, reads from a module, or has as a text."""
    found: set[str] = set()
    for folder in ("gaussian_splatting", "tools", "tests"):
        for path in (PACKAGE.parent / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom):
                    found |= {f"{(node.module or '').split('.')[-1]}.{alias.name}" for alias in node.names}
                elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    found.add(f"{node.value.id}.{node.attr}")
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(f".{node.value}")
    return found


def constants_without_use(path: Path, taken: set[str]) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    loaded = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    module = path.parent.name if path.name == "__init__.py" else path.stem
    assigned = [node for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)]
    stored = [name.id for node in assigned for name in ast.walk(node) if isinstance(name, ast.Name)]
    constants = {name for name in stored if name.isupper()} - loaded
    # A module may be imported under another name: `similarity as kernel`.
    return sorted(name for name in constants if not {f"{module}.{name}", f"kernel.{name}", f".{name}"} & taken)


def test_every_constant_is_used():
    taken = names_taken()
    # The lanes of a record are named one by one, also those that are only read as part of a slice.
    modules = [path for path in PACKAGE.rglob("*.py") if path.name != "layout.py"]
    assert {path.name: found for path in modules if (found := constants_without_use(path, taken))} == {}
