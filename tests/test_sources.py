"""What every source file below helpers/ looks like, and what importing it costs."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import collection as see
from tools.notebooks import ROOT

FILES = sorted((ROOT / "helpers").rglob("*.py"))


def arrows_point_down(path: Path, root: Path = ROOT) -> list[str]:
    """Figures and exercises use the maths, the lab and parts of their own, `<subject>_<part>`; nothing else of ours."""
    parts = path.relative_to(root).with_suffix("").parts
    layer, own = (parts[1] if len(parts) > 2 else "maths"), re.escape(".".join(parts))
    maths = r"helpers\.(?!lab\b|figures\b|exercises\b)"
    allowed = {"maths": maths, "lab": r"helpers\.lab\b"}.get(layer, rf"{maths}|helpers\.lab\b|{own}(_\w+)?\b")
    module = ast.parse(path.read_text(encoding="utf-8"))
    used = see.imports(module)
    ours = [name for name in used if re.match(r"\.|tests|tools|helpers\.", name)]
    found = [f"imports {name}" for name in ours if not re.match(allowed, name)]
    if layer == "maths":
        shown = {"matplotlib", "ipywidgets", "IPython", "tqdm"} & used
        found += [f"imports {name}: the maths shows nothing" for name in shown]
        found += [f"prints in line {call.lineno}" for call in see.calls(module, "print")]
    return [f"{path.relative_to(root)}: {complaint}" for complaint in sorted(found)]


def source_is_house_style(path: Path, root: Path = ROOT) -> list[str]:
    """Colours in lab/style.py only, no shared random state; figures have no Chinese text and build no Explorers."""
    text = path.read_text(encoding="utf-8")
    module = ast.parse(text)
    found = see.global_randomness(module)
    if path.name != "style.py":
        found += see.colour_literals(module)
    if path.parent.name == "figures":
        found += [f"Chinese characters {sign[0]!r} may draw as boxes" for sign in see.CJK.finditer(text)]
        found += ["builds an Explorer; that is for notebooks" for _ in see.calls(module, "Explorer")]
    return [f"{path.relative_to(root)}: {complaint}" for complaint in found]


def loaded(*modules: str) -> set[str]:
    """Top-level modules in memory after importing these in a fresh interpreter."""
    code = f"import sys, {', '.join(modules)}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return set(result.stdout.split())


@pytest.mark.parametrize("rule", [arrows_point_down, source_is_house_style], ids=see.name)
@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT / "helpers")))
def test_source(path, rule):
    assert rule(path) == []


def test_import_helpers_is_light():
    assert not loaded("helpers") & {"numpy", "scipy", "matplotlib", "ipywidgets", "IPython", "sklearn", "torch"}


def test_maths_does_not_load_pictures():
    assert not loaded("helpers.discriminant") & {"matplotlib", "ipywidgets", "IPython", "sklearn", "torch"}


def test_numpy_notebook_does_not_load_torch():
    modules = ("helpers.lab", "helpers.discriminant", "helpers.figures.discriminant", "helpers.exercises.discriminant")
    assert "torch" not in loaded(*modules)


@pytest.mark.parametrize("subject", ["transformer_initialization", "nonsquare_initialization", "bert_initial_std"])
def test_first_pictures_do_not_wait_for_torch(subject):
    """Half of what a reader waits for until the picture of "In one minute", and what a class feels most."""
    assert "torch" not in loaded("helpers.lab", f"helpers.figures.{subject}")
