"""`make notebooks`: run every notebook in a fresh kernel, normalise it, hold it to its budgets, write it if it changed.

``python -m tools.notebooks [--check] [path …]``; without paths all notebooks and their solutions. A cell that raises
is reported and its notebook stays as it was. ``--check`` runs nothing and looks only at what the file says.
"""

import argparse
import base64
import copy
import io
import os
import re
import statistics
import sys
import time
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import nbformat
import numpy as np
from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from PIL import Image

ROOT = Path(__file__).parents[1]

CELL_SECONDS = 20
NOTEBOOK_SECONDS = 120
FILE_BYTES = 1_500_000
CELL_LINES = 25
MEDIAN_LINES = 8
CODE_CELLS_IN_A_ROW = 2
WORDS = (2000, 4000)
MAIN_LINE_WORDS = 3000
DEEPER_WORDS = 250  # half a screen
SAME_PICTURE = 0.1  # mean difference in grey levels (of 255): last bits of another processor, less than a moved curve
OTHER_PIXELS = 20  # pixels that may change by more than half the grey range: less than one letter

METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
CELL_METADATA = ("tags", "slideshow", "jupyter")
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
RUN_TIME = re.compile(r"\*\*Time\*\*.*\brun (\d+) s\b")

_RANDOM_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){0,3}(-[0-9a-f]{12})?")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class CellFailed(Exception):
    """A cell that raised, ran too long or took the kernel with it; the message names notebook and cell."""


class Line(NamedTuple):
    """One line of a markdown cell, or one whole code cell."""

    cell: int
    text: str
    kind: str  # "prose", "heading", "maths", "fence" or "code cell"
    section: str  # the `##` heading above it, "" before the first
    deeper: str  # the heading `Deeper: …` it belongs to, or ""


@dataclass(frozen=True)
class Notebook:
    """A notebook and where it lies."""

    path: Path
    node: NotebookNode

    @classmethod
    def read(cls, path: Path) -> "Notebook":
        return cls(path, nbformat.v4.reads(path.read_text(encoding="utf-8")))

    @property
    def name(self) -> str:
        return f"solutions/{self.path.name}" if self.kind == "solution" else self.path.name

    @property
    def kind(self) -> str:
        """'start' (00), 'lesson' (01 …) or 'solution'."""
        if self.path.parent.name == "solutions":
            return "solution"
        return "start" if self.path.name.startswith("00") else "lesson"

    @property
    def code(self) -> list[tuple[int, NotebookNode]]:
        """Code cells with their index among all cells."""
        return [(k, cell) for k, cell in enumerate(self.node.cells) if cell.cell_type == "code"]

    @cached_property
    def lines(self) -> list[Line]:
        return list(_lines(self.node))

    def at(self, cell: int) -> str:
        """How messages name a cell: counted from 0, and by the number a reader sees beside it."""
        count = self.node.cells[cell].get("execution_count")
        return f"{self.name}, cell {cell}" + (f" In [{count}]" if count else "")


def _lines(node: NotebookNode) -> Iterator[Line]:
    section = deeper = ""
    deeper_level = 0
    for k, cell in enumerate(node.cells):
        if cell.cell_type != "markdown":
            yield Line(k, cell.source, "code cell", section, deeper)
            continue
        inside = ""
        for text in cell.source.splitlines():
            mark = text.strip()[:3]
            kind = inside or "prose"
            if mark == "```" and inside != "maths":
                kind, inside = "fence", "" if inside else "fence"
            elif text.strip() == "$$" and inside != "fence":
                kind, inside = "maths", "" if inside else "maths"
            elif kind == "prose" and (heading := re.match(r"(#{1,6}) +(.*\S)", text)):
                kind, level, title = "heading", len(heading[1]), heading[2]
                if level <= 2:
                    section = title if level == 2 else ""
                if not deeper or level <= deeper_level:
                    deeper, deeper_level = (title, level) if title.startswith("Deeper:") else ("", 0)
            yield Line(k, text, kind, section, deeper)


def plain(text: str) -> str:
    """Prose without code spans, tags, link targets; inline maths counts as one word."""
    text = re.sub(r"`[^`]*`|<[^>]*>|(?<=\])\([^)]*\)", " ", text)
    return re.sub(r"\$[^$]+\$", " x ", text)


# ---------------------------------------------------------------- budgets that the file alone decides


def file_size(notebook: Notebook) -> list[str]:
    size = len(serialise(notebook.node).encode())
    return [f"{notebook.name}: {size:,} bytes, allowed {FILE_BYTES:,}"] if size > FILE_BYTES else []


def prose_words(notebook: Notebook) -> list[str]:
    if notebook.kind != "lesson":
        return []
    every, main = count_words(notebook.lines), count_words(line for line in notebook.lines if not line.deeper)
    found = []
    if not WORDS[0] <= every <= WORDS[1]:
        found.append(f"{notebook.name}: {every} words of prose, should be {WORDS[0]} to {WORDS[1]}")
    if main > MAIN_LINE_WORDS:
        found.append(f"{notebook.name}: {main} words without the Deeper sections, allowed {MAIN_LINE_WORDS}")
    for title in dict.fromkeys(line.deeper for line in notebook.lines if line.deeper):
        words = count_words(line for line in notebook.lines if line.deeper == title)
        if words > DEEPER_WORDS:
            found.append(f"{notebook.name}: section {title!r} has {words} words, allowed {DEEPER_WORDS}")
    return found


def count_words(lines: "Iterator[Line] | list[Line]") -> int:
    """Words of the prose and headings among the lines; a run of Chinese characters counts once."""
    return sum(len(re.findall(r"[^\W\d_][\w'’-]*", plain(line.text))) for line in lines if line.kind in _PROSE)


_PROSE = ("prose", "heading")


def cell_lengths(notebook: Notebook) -> list[str]:
    lengths = {k: len(cell.source.splitlines()) for k, cell in notebook.code}
    found = [
        f"{notebook.at(k)}: {length} lines, allowed {CELL_LINES}"
        for k, length in lengths.items()
        if length > CELL_LINES
    ]
    if lengths and (median := statistics.median(lengths.values())) > MEDIAN_LINES:
        found.append(f"{notebook.name}: code cells have {median:g} lines in the median, allowed {MEDIAN_LINES}")
    return found


def code_runs(notebook: Notebook) -> list[str]:
    found, run = [], 0
    for k, cell in enumerate(notebook.node.cells):
        run = run + 1 if cell.cell_type == "code" else 0
        if run == CODE_CELLS_IN_A_ROW + 1:
            found.append(f"{notebook.at(k)}: more than {CODE_CELLS_IN_A_ROW} code cells in a row")
    return found


def states_run_time(notebook: Notebook) -> list[str]:
    if notebook.kind == "solution" or stated_seconds(notebook) is not None:
        return []
    return [f"{notebook.name}: no line such as '**Time**: … run 30 s …'"]


def stated_seconds(notebook: Notebook) -> int | None:
    """Run time the notebook promises, in seconds."""
    found = [match for line in notebook.lines if line.kind == "prose" and (match := RUN_TIME.search(line.text))]
    return int(found[0][1]) if found else None


def no_semicolons(notebook: Notebook) -> list[str]:
    """A trailing semicolon hides an output from Jupyter but not from nbval; within a line it hides a statement."""
    return [f"{notebook.at(k)}: a semicolon in the code" for k, cell in notebook.code if _has_semicolon(cell.source)]


def _has_semicolon(source: str) -> bool:
    try:
        return any(token.string == ";" for token in tokenize.generate_tokens(io.StringIO(source).readline))
    except (SyntaxError, tokenize.TokenError):
        return source.rstrip().endswith(";")


BUDGETS: tuple[Callable[[Notebook], list[str]], ...] = (
    file_size, prose_words, cell_lengths, code_runs, states_run_time, no_semicolons,
)  # fmt: skip


def time_budgets(notebook: Notebook, seconds: dict[int, float], total: float) -> list[str]:
    """Complaints about measured times: seconds of each cell, and of the whole with the start of the kernel."""
    found = [
        f"{notebook.at(k)}: took {spent:.1f} s, allowed {CELL_SECONDS} s"
        for k, spent in seconds.items()
        if spent > CELL_SECONDS
    ]
    if total > NOTEBOOK_SECONDS:
        found.append(f"{notebook.name}: took {total:.1f} s, allowed {NOTEBOOK_SECONDS} s")
    if (stated := stated_seconds(notebook)) is not None and total > stated:
        found.append(f"{notebook.name}: took {total:.1f} s but promises {stated} s")
    return found


# ---------------------------------------------------------------- executing and normalising


class _ThisPython(KernelSpecManager):
    """The kernel of the interpreter that runs this, whatever other `python3` kernels are installed."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())


def execute(notebook: Notebook) -> dict[int, float]:
    """Run all cells in a fresh kernel, in place; seconds of every code cell by its index.

    Raises
    ------
    CellFailed
        With the notebook, the cell and the end of the traceback.
    """
    started: dict[int, float] = {}
    seconds: dict[int, float] = {}

    def start(cell: NotebookNode, cell_index: int) -> None:
        started[cell_index] = time.perf_counter()

    def end(cell: NotebookNode, cell_index: int, execute_reply: dict) -> None:
        seconds[cell_index] = time.perf_counter() - started[cell_index]

    client = NotebookClient(
        notebook.node, timeout=3 * CELL_SECONDS, record_timing=False, on_cell_execute=start, on_cell_executed=end,
        resources={"metadata": {"path": str(notebook.path.parent)}}, extra_arguments=["--IPKernelApp.log_level=ERROR"],
    )  # fmt: skip
    client.km = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=_ThisPython())
    try:
        client.execute(env=os.environ | {"OMP_NUM_THREADS": "1"})
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        ending = "\n".join(_ANSI.sub("", str(error)).strip().splitlines()[-12:])
        raise CellFailed(f"{notebook.name}, cell {max(started, default=0)}:\n{ending}") from error
    return seconds


def normalise(node: NotebookNode) -> None:
    """Remove, in place, what changes from run to run or from machine to machine."""
    node.metadata = nbformat.from_dict(METADATA)
    node.nbformat, node.nbformat_minor = 4, 5
    _name_cells(node.cells)
    count = 0
    for cell in node.cells:
        cell.source = cell.source.strip("\n")
        cell.metadata = nbformat.from_dict({key: cell.metadata[key] for key in CELL_METADATA if key in cell.metadata})
        if cell.cell_type != "code":
            continue
        if cell.execution_count is not None:
            count += 1
            cell.execution_count = count
        cell.outputs = _merge_streams(cell.outputs)
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = cell.execution_count
            if "data" in output:
                output.data.pop(WIDGET_VIEW, None)
                output.metadata.pop(WIDGET_VIEW, None)
            if output.output_type == "error":  # the traceback holds paths; nbval does not compare it
                output.traceback = [f"{output.ename}: {output.evalue}"]


def _name_cells(cells: list[NotebookNode]) -> None:
    seen: set[str] = set()
    for cell in cells:
        if cell.get("id", "") in seen or _RANDOM_ID.fullmatch(cell.get("id", "")):
            cell.pop("id")
        seen.add(cell.get("id", ""))
    free = (name for k in range(1, 2 * len(cells) + 1) if (name := f"cell-{k}") not in seen)
    for cell in cells:
        if not cell.get("id"):
            cell.id = next(free)


def _merge_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """One output per stream at the place of its first, as nbval merges them: how a kernel splits them is chance."""
    merged: dict[object, NotebookNode] = {}
    for k, output in enumerate(outputs):
        key = output.name if output.output_type == "stream" else k
        if key in merged:
            merged[key].text += output.text
        else:
            merged[key] = output
    return list(merged.values())


def keep_pictures(node: NotebookNode, committed: NotebookNode) -> None:
    """Keep the committed PNG, in place, where sentence and pixels are the same up to rounding on another machine."""
    before = {cell.get("id"): cell for cell in committed.cells if cell.cell_type == "code"}
    for cell in node.cells:
        if cell.cell_type != "code" or cell.id not in before:
            continue
        old = {_sentence(output): output.data["image/png"] for output in before[cell.id].outputs if _has_png(output)}
        for output in filter(_has_png, cell.outputs):
            picture = old.get(_sentence(output))
            if picture and nearly_equal(picture, output.data["image/png"]):
                output.data["image/png"] = picture


def _has_png(output: NotebookNode) -> bool:
    return "image/png" in output.get("data", {})


def _sentence(output: NotebookNode) -> str:
    return output.data.get("text/plain", "")


def nearly_equal(png_a: str, png_b: str) -> bool:
    """Whether two pictures, base64-encoded PNGs, differ by last bits only: neither a moved curve nor another letter."""
    a, b = (np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"), float) for png in (png_a, png_b))
    if a.shape != b.shape:
        return False
    difference = np.abs(a - b)
    return bool(difference.mean() < SAME_PICTURE and np.sum(difference.max(axis=-1) > 128) < OTHER_PIXELS)


def serialise(node: NotebookNode) -> str:
    """The one form of a notebook file: what JupyterLab writes too, keys sorted, one trailing newline."""
    return nbformat.v4.writes(copy.deepcopy(node)) + "\n"


# ---------------------------------------------------------------- the command


def make(path: Path) -> tuple[str, list[str]]:
    """Execute, normalise and, if it changed, write one notebook; a line of report and the complaints."""
    committed, notebook = Notebook.read(path), Notebook.read(path)
    start = time.perf_counter()
    try:
        seconds = execute(notebook)
    except CellFailed as failure:
        return f"{notebook.name}: not written", [str(failure)]
    total = time.perf_counter() - start
    normalise(notebook.node)
    keep_pictures(notebook.node, committed.node)
    text = serialise(notebook.node)
    changed = text != path.read_text(encoding="utf-8")
    if changed:
        path.write_text(text, encoding="utf-8", newline="\n")
    slowest = max(seconds, key=seconds.get, default=0)
    report = (
        f"{notebook.name}: {total:.1f} s, slowest cell {slowest} with {seconds.get(slowest, 0):.1f} s, "
        f"{count_words(notebook.lines):,} words, {len(text.encode()) / 1e3:,.0f} kB, "
        f"{'written' if changed else 'unchanged'}"
    )
    return report, time_budgets(notebook, seconds, total) + check(notebook)


def check(notebook: Notebook) -> list[str]:
    """Complaints about the budgets that the file alone decides."""
    return [complaint for rule in BUDGETS for complaint in rule(notebook)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.notebooks", description=__doc__)
    parser.add_argument("--check", action="store_true", help="run nothing; only the budgets the file alone decides")
    parser.add_argument("paths", nargs="*", type=Path, metavar="path")
    options = parser.parse_args(arguments)
    folder = ROOT / "notebooks"
    complaints = []
    for path in options.paths or [*sorted(folder.glob("*.ipynb")), *sorted(folder.glob("solutions/*.ipynb"))]:
        if options.check:
            notebook = Notebook.read(path)
            report, found = f"{notebook.name}: {count_words(notebook.lines):,} words", check(notebook)
        else:
            report, found = make(path)
        print(report, flush=True)
        complaints += found
    for complaint in complaints:
        print(f"  {complaint}", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
