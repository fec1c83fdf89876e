"""The house keeps its order: who imports whom, how fast the command line answers, how long functions get."""

from __future__ import annotations

import ast
import importlib
import resource
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("engine", "flows", "model", "annotation", "qa", "storage")
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in SOURCES
}
SCRIPTS = (".env", ".server_process")
"""What Alembic and the server's process run."""

HELP_CPU_S = 0.5
LONGEST_FUNCTION = 60

HELP = """
import sys
sys.argv = ["engine", "--help"]
from engine.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("IMPORTED", *sorted({"torch", "prefect", "pandas", "boto3", "label_studio_sdk"} & set(sys.modules)))
"""


def test_imports_follow_the_contracts():
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[done.stdout.find("Contracts") :] + done.stderr


def test_help_imports_nothing_heavy():
    done = _help()
    assert done.stdout.splitlines()[-1].split() == ["IMPORTED"]


def test_help_answers_at_once():
    """CPU time and the best of three, so that a busy machine does not decide."""
    assert min(_help_cpu_s() for _ in range(3)) < HELP_CPU_S


def _help() -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", HELP], cwd=ROOT, capture_output=True, text=True, check=True)


def _help_cpu_s() -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _help()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_sorted_and_there(package: str):
    module = importlib.import_module(package)
    names = list(getattr(module, "__all__", []))
    assert names == sorted(names)
    assert [name for name in names if not hasattr(module, name)] == []


def test_functions_fit_on_a_screen():
    long = [f"{place}: {lines} lines" for place, lines in _functions() if lines > LONGEST_FUNCTION]
    assert long == []


def _functions() -> Iterator[tuple[str, int]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", _lines(node)


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without the docstring."""
    first = node.body[0]
    has_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = first.end_lineno - first.lineno + 1 if has_docstring else 0
    return node.end_lineno - node.lineno + 1 - docstring


def test_every_file_says_what_it_is_for():
    silent = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.stat().st_size and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_every_module_can_be_imported_first() -> None:
    """A circle of imports shows only when the right module comes first, as it may in a command of its own."""
    TopologicalSorter({name: _needs(name, path) for name, path in MODULES.items()}).prepare()


def _needs(name: str, path: Path) -> set[str]:
    """Modules of ours that must have run when this one has, with packages around them that are not begun before."""
    around = {name, *_packages_of(name)}
    imported = {
        module for module in _imported(ast.parse(path.read_text(encoding="utf-8"))) if module in MODULES
    }
    return imported | {package for module in imported for package in _packages_of(module)} - around


def _packages_of(name: str) -> Iterator[str]:
    while name := name.rpartition(".")[0]:
        yield name


def _imported(node: ast.AST) -> Iterator[str]:
    """What is imported when a module is, which leaves out functions and what is there for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.module and not child.level, f"relative import: {ast.unparse(child)}"
            full = [f"{child.module}.{alias.name}" for alias in child.names]
            yield from (name if name in MODULES else child.module for name in full)
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            yield from (name for part in child.orelse for name in _imported(part))
        elif not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _imported(child)


def test_what_a_module_needs_first_is_read_from_it(tmp_path: Path) -> None:
    first = tmp_path / "first.py"
    first.write_text(
        "from typing import TYPE_CHECKING\nimport storage.masks\ntry:\n    from qa import metrics\nfinally:\n    pass\n"
        "if TYPE_CHECKING:\n    import model\ndef later():\n    import engine\n"
    )
    assert _needs("storage.first", first) == {"storage.masks", "qa.metrics", "qa"}


def test_every_module_can_be_imported() -> None:
    names = [name for name in MODULES if "versions" not in name and not name.endswith(SCRIPTS)]
    imports = "\n".join(f"import {name}" for name in names)
    done = subprocess.run(
        [sys.executable, "-c", imports], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
