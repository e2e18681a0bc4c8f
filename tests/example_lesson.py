"""The smallest collection that obeys every rule, made from tests/example: one lesson, its solutions, a README."""

import re
import shutil
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from tools import notebooks as tool
from tools.notebooks import Notebook

EXAMPLE = Path(__file__).parent / "example"


def from_markdown(text: str) -> NotebookNode:
    """A notebook with a code cell for every ```python block and a markdown cell for the text between two."""
    parts = re.split(r"^```python\n(.*?)^```\n", text, flags=re.MULTILINE | re.DOTALL)
    make = (nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell)
    return nbformat.v4.new_notebook(
        cells=[make[k % 2](part.strip("\n")) for k, part in enumerate(parts) if part.strip()]
    )


def save(notebook: Notebook) -> Notebook:
    """Write a notebook as it is."""
    notebook.path.parent.mkdir(parents=True, exist_ok=True)
    notebook.path.write_text(tool.serialise(notebook.node), encoding="utf-8")
    return notebook


def build(root: Path) -> Notebook:
    """Lay the collection out below `root`, executed and normalised; the lesson."""
    folder = root / "notebooks"
    for path, source in (
        (folder / "01_squares.ipynb", "lesson.md"),
        (folder / "solutions/01_squares.ipynb", "solution.md"),
    ):
        text = (EXAMPLE / source).read_text(encoding="utf-8").replace("FILLER", "word " * tool.WORDS[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(EXAMPLE / "toy.py", path.parent)
        save(Notebook(path, from_markdown(text)))
        _, complaints = tool.make(path)
        assert complaints == []
    shutil.copy(EXAMPLE / "README.md", root)
    return Notebook.read(folder / "01_squares.ipynb")
