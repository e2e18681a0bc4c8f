"""Every notebook runs from top to bottom, offline, and says again what its saved outputs say (nbval, strict)."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.collection import LESSONS, NOTEBOOKS, SOLUTIONS, name
from tools.notebooks import Notebook


def nbval(*paths: Path) -> subprocess.CompletedProcess:
    """Run strict nbval in a pytest of its own: no plugins but nbval, no settings of ours."""
    command = [
        sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(paths[0].parent), "-p", "nbval.plugin",
        "-p", "no:cacheprovider", "--nbval", "--nbval-current-env", "--nbval-cell-timeout", "60",
        "--color=no", "--no-header", "-q", *map(str, paths),
    ]  # fmt: skip
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)


def agrees_with_its_outputs(path: Path) -> None:
    """Fail with nbval's own words unless every code cell has been executed and passes."""
    code = Notebook.read(path).code
    result = nbval(path)
    said = re.sub(r"\x1b\[[0-9;]*m", "", result.stdout + result.stderr)
    passed = re.search(r"(\d+) passed", said)
    fine = result.returncode == 0 and passed and int(passed[1]) == len(code)
    assert fine, f"{path.name} (nbval's Cell k is the one a reader sees as [k+1]; it has {len(code)} cells)\n{said}"
    assert all(cell.execution_count for _, cell in code), f"{path.name}: nbval compares executed cells only"


def test_there_are_notebooks():
    assert [path.name for path in NOTEBOOKS if path.name.startswith("00")], "notebooks/00_….ipynb is missing"
    assert LESSONS, "notebooks/ holds no lesson (01_….ipynb)"
    assert {path.name for path in LESSONS} <= {path.name for path in SOLUTIONS}, "each lesson has its solutions"


@pytest.mark.parametrize("path", [*NOTEBOOKS, *SOLUTIONS], ids=name)
def test_notebook_agrees_with_its_outputs(path):
    agrees_with_its_outputs(path)
