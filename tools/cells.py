"""The code cells of a notebook as syntax trees, and run without a kernel: for the tests and for the website."""

import ast
import linecache
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl

from tools.notebooks import Notebook


def tree(source: str) -> ast.Module:
    """Syntax tree of a cell; empty when it is not plain Python, which is a rule of its own."""
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.Module([], [])


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of a name or attribute, "" of anything else."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}".lstrip(".")
    return node.id if isinstance(node, ast.Name) else ""


def calls(node: ast.AST, function: str) -> list[ast.Call]:
    """Calls of a function by the last part of its name: ``check`` finds ``lab.check(…)`` and ``check(…)``."""
    found = [node for node in ast.walk(node) if isinstance(node, ast.Call)]
    return [call for call in found if dotted(call.func).rpartition(".")[2] == function]


def cells_that_call(notebook: Notebook, function: str) -> list[tuple[int, list[ast.Call]]]:
    """Code cells, by index among all cells, with their calls of the function."""
    return [(k, found) for k, cell in notebook.code if (found := calls(tree(cell.source), function))]


def setup_cell(notebook: Notebook) -> int:
    """Index of the code cell under ``## Setup``, in notebooks without that heading of the first code cell."""
    under = [line.cell for line in notebook.lines if line.kind == "code cell" and line.section == "Setup"]
    return (under or [k for k, _ in notebook.code])[0]


@contextmanager
def as_in_a_kernel(folder: Path) -> Iterator[None]:
    """Work in the notebook's folder, its modules importable, prints swallowed, changes of the style undone."""
    here, path = Path.cwd(), sys.path.copy()
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        with mpl.rc_context(), redirect_stdout(StringIO()):
            yield
    finally:
        os.chdir(here)
        sys.path[:] = path


def run_cells(notebook: Notebook, *cells: int) -> tuple[Any, dict[str, Any]]:
    """Run cells in one fresh namespace; the value of the last one's last expression, and the namespace."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    value = None
    for k in cells:
        source, file = notebook.node.cells[k].source, f"<{notebook.at(k)}>"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)  # for inspect.getsource
        body = ast.parse(source, file)
        last = body.body.pop() if body.body and isinstance(body.body[-1], ast.Expr) else None
        exec(compile(body, file, "exec"), namespace)
        value = eval(compile(ast.Expression(last.value), file, "eval"), namespace) if last else None
    return value, namespace
