"""The frames of playable figures: every Explorer of a notebook, drawn by its own picture along its main control.

``python -m tools.site.frames notebook.ipynb folder`` in a process of its own, because it runs the notebook's code.
"""

import argparse
import hashlib
import importlib.metadata
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from helpers.lab import Explorer
from helpers.lab.controls import positions, shown
from tools.cells import as_in_a_kernel, cells_that_call, run_cells, setup_cell
from tools.notebooks import ROOT, Notebook

FRAMES = (31, 21, 16)  # at most so many; fewer where the figure would be too heavy
MOST_BYTES = 500_000
COLOURS = 128
DONE = "figures.json"


class NoFrames(Exception):
    """An Explorer that cannot be played; the message names the notebook and the cell."""


@dataclass(frozen=True)
class Playable:
    """One Explorer along its main control. Frame k is the file ``<cell>/<k>.webp``."""

    cell: int
    control: str  # what the slider is called
    values: list[str]  # what it says at each frame
    captions: list[str]
    start: int  # the frame of the defaults
    others: list[str]  # the other controls, in words, at their defaults
    run: str  # what the button says, or ""
    about: str  # what the picture is, for those who do not see it
    width: int
    height: int


def play(explorer: Explorer, folder: Path, cell: int) -> Playable:
    """Move the main control over its range, at most 31 positions, and write the frames into ``folder/<cell>``."""
    control = explorer.controls[explorer.main]
    others = [f"{other.description} = {shown(other)}" for other in explorer.controls.values() if other is not control]
    for most in FRAMES:
        stops = stops_of(control, most)
        start = stops.index(control.value)
        shots = [_shoot(explorer, stop) for stop in stops]
        explorer.reset()
        if sum(len(picture) for _, _, picture in shots) <= MOST_BYTES:
            break
    values, captions, pictures = map(list, zip(*shots, strict=True))
    if len(set(pictures)) < 2:
        raise NoFrames(f"the main control {explorer.main!r} moves nothing; name another: Explorer(main=…)")
    (folder / str(cell)).mkdir(parents=True, exist_ok=True)
    for k, picture in enumerate(pictures):
        (folder / str(cell) / f"{k}.webp").write_bytes(picture)
    height, width, _ = explorer.frame.shape
    run = explorer.job.button.description if explorer.job else ""
    about = describe(explorer.figure)
    return Playable(cell, control.description, values, captions, start, others, run, about, width, height)


def _shoot(explorer: Explorer, stop: object) -> tuple[str, str, bytes]:
    try:
        explorer.set(**{explorer.main: stop})
    except Exception as error:
        raise NoFrames(f"at {explorer.main} = {stop!r}: {type(error).__name__}: {error}") from error
    control = explorer.controls[explorer.main]
    readout = getattr(control, "readout_format", "")  # the decimals that the live slider shows
    value = format(control.value, readout) if isinstance(control.value, float) and readout else shown(control)
    return value, explorer.caption, webp(explorer.frame)


def stops_of(control: object, most: int) -> list:
    """Positions of a control, at most so many: both ends, what it stands at, and the others evenly between."""
    every = positions(control, limit=10**6)
    now = _place(every, control.value)
    every[now] = control.value  # a slider's positions are computed in floats
    places = (
        {round(k * (len(every) - 1) / (most - 1)) for k in range(most)} if len(every) > most else set(range(len(every)))
    )
    if now not in places:
        places.remove(min(places - {0, len(every) - 1}, key=lambda place: abs(place - now)))
        places.add(now)
    return [every[place] for place in sorted(places)]


def _place(every: list, value: object) -> int:
    return every.index(value) if value in every else min(range(len(every)), key=lambda k: abs(every[k] - value))


def webp(rgb: np.ndarray) -> bytes:
    """Pixels in a palette, without dithering, as lossless WebP: half the size of a PNG, and lines stay sharp."""
    stream = io.BytesIO()
    few = Image.fromarray(rgb).quantize(COLOURS, dither=Image.Dither.NONE).convert("RGB")
    few.save(stream, "webp", lossless=True, quality=80, method=4)
    return stream.getvalue()


def describe(figure: Figure) -> str:
    """What a figure shows, from its titles and axes: ``error over order n; time over order n``."""
    panels = []
    for axes in figure.axes:
        if not axes.get_visible() or axes.get_label() == "<colorbar>":
            continue
        title, x, y = (_words(text) for text in (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()))
        pair = " over ".join(filter(None, [y, x]))
        panels.append(": ".join(filter(None, [title, pair])))
    named = list(dict.fromkeys(filter(None, panels)))
    return "Plot" + (f" of {'; '.join(named)}" if named else "")


def _words(label: str) -> str:
    label = label.replace("\\mid", "|").replace("\\,", " ")
    label = re.sub(r"\\(?:mathrm|mathbf|mathit|frac|sqrt|left|right)\b|[${}]", "", label)
    return re.sub(r"\s+", " ", label.replace("\\", "")).strip()


# ---------------------------------------------------------------- one notebook, once


def key(notebook: Notebook) -> str:
    """What the frames of a notebook depend on: the cells that are run, the helpers, this file, the libraries."""
    digest = hashlib.sha256()
    cells = [setup_cell(notebook), *(cell for cell, _ in cells_that_call(notebook, "Explorer"))]
    for cell in cells:
        digest.update(f"{cell}\n{notebook.node.cells[cell].source}\n".encode())
    files = [path for path in (ROOT / "helpers").rglob("*") if path.suffix in (".py", ".json")]
    for path in sorted([*files, Path(__file__)]):
        digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    for package in ("matplotlib", "numpy", "scipy", "pillow", "torch"):
        digest.update(importlib.metadata.version(package).encode())
    return digest.hexdigest()[:16]


def draw(path: Path, folder: Path) -> list[Playable]:
    """Build every Explorer of a notebook from its setup cell and its own cell, and play it into the folder."""
    notebook = Notebook.read(path)
    figures = []
    for cell, _ in cells_that_call(notebook, "Explorer"):
        with as_in_a_kernel(path.parent):
            explorer, _ = run_cells(notebook, *dict.fromkeys([setup_cell(notebook), cell]))
            if not isinstance(explorer, Explorer):
                raise NoFrames(f"{notebook.at(cell)}: the Explorer is not the last expression of its cell")
            try:
                figures.append(play(explorer, folder, cell))
            except NoFrames as problem:
                raise NoFrames(f"{notebook.at(cell)}: {problem}") from None
    (folder / DONE).write_text(json.dumps([asdict(figure) for figure in figures], ensure_ascii=False), encoding="utf-8")
    return figures


def frames(path: Path, cache: Path) -> tuple[Path, list[Playable]]:
    """Folder and description of a notebook's playable figures, drawn in a process of its own unless cached.

    Raises
    ------
    NoFrames
        With what the process said.
    """
    notebook = Notebook.read(path)
    if not cells_that_call(notebook, "Explorer"):
        return cache, []
    folder = cache / path.stem / key(notebook)
    if not (folder / DONE).exists():
        command = [sys.executable, "-m", "tools.site.frames", str(path.resolve()), str(folder.resolve())]
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
        )
        if done.returncode:
            said = done.stderr.strip()[-2000:]
            raise NoFrames(said if said.startswith(notebook.name) else f"{notebook.name}: {said}")
    told = json.loads((folder / DONE).read_text(encoding="utf-8"))
    return folder, [Playable(**figure) for figure in told]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    try:
        draw(given.notebook, given.folder)
    except NoFrames as problem:
        sys.exit(str(problem))
