"""Try an Explorer over the whole range of its controls: what a reader may do, before a reader does it."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.patches import Patch

from helpers.lab.controls import positions

if TYPE_CHECKING:
    from helpers.lab.explorer import Explorer


class SweepError(AssertionError):
    """A position of the controls at which an Explorer fails, or a control that moves nothing."""


def sweep(explorer: "Explorer", n_random: int = 8) -> int:
    """Visit the positions of every control, one control at a time, and random positions of all of them.

    Every choice is visited, every point of a slider that has at most 24, and twelve of a longer one, ends included.
    At each position: no exception, only finite numbers in visible artists, no nan or inf in the caption; at the random
    ones the picture over the kept background must also equal one drawn anew. Every control must move pixels, at the
    defaults or at a random position. At the end the defaults must give the first picture and caption again.
    Then the button is pressed, where there is one: the same holds for what it shows, and it must move pixels too.

    Returns
    -------
    int
        Number of positions; one that several controls share, as the defaults are, is visited once but counts each time.

    Raises
    ------
    SweepError
        Naming the position and what went wrong there.
    """
    shown: list[tuple[dict[str, Any], np.ndarray]] = []

    def look(position: dict[str, Any], visit: Callable = _visit) -> np.ndarray:
        for before, pixels in shown:
            if before == position:
                return pixels
        shown.append((position, visit(explorer, position)[0]))
        return shown[-1][1]

    default = explorer.values
    at_start, caption = _visit_and_redraw(explorer, default)
    shown.append((default, at_start))
    alive, count = set(), 1
    rng = np.random.default_rng(0)
    contexts = [default]
    for _ in range(n_random):
        drawn = {name: _random_position(control, rng) for name, control in explorer.controls.items()}
        look(drawn, _visit_and_redraw)
        contexts.append(drawn)
        count += 1
    for name, control in explorer.controls.items():
        if len(positions(control)) == 1:
            alive.add(name)
        for context in contexts:
            for value in _tried(control) if context is default else positions(control, limit=2):
                count += 1
                if not np.array_equal(look(context | {name: value}), look(context)):
                    alive.add(name)
            if name in alive:
                break
    if dead := sorted(set(explorer.controls) - alive):
        raise SweepError(f"dead control: moving {', '.join(dead)} changes no pixel")
    back, caption_back = _visit(explorer, default)
    if not np.array_equal(back, at_start) or caption_back != caption:
        raise SweepError("back at the defaults, the picture or the caption is not what it was: update keeps state")
    if explorer.job is not None:
        _press(explorer)
    return count


def _press(explorer: "Explorer") -> None:
    before = explorer.frame
    here = f"{explorer.job.button.description!r} at {explorer.values}"
    try:
        explorer.run()
    except Exception as error:
        raise SweepError(f"{here}: {type(error).__name__}: {error}") from error
    _finite(explorer, here)
    if np.array_equal(explorer.frame, before):
        raise SweepError(f"{here}: changes no pixel")
    _not_stale(explorer, here)
    _visit_and_redraw(explorer, explorer.values)  # what the picture keeps of it must survive a move


def _visit(explorer: "Explorer", values: dict[str, Any]) -> tuple[np.ndarray, str]:
    try:
        explorer.set(**values)
    except Exception as error:
        raise SweepError(f"at {values}: {type(error).__name__}: {error}") from error
    _finite(explorer, f"at {values}")
    return explorer.frame, explorer.caption


def _finite(explorer: "Explorer", here: str) -> None:
    if re.search(r"\b(nan|inf)\b", explorer.caption, re.IGNORECASE):
        raise SweepError(f"{here}: the caption holds a number that is not finite: {explorer.caption!r}")
    for axes in explorer.figure.axes:
        for artist in [*axes.lines, *axes.collections, *axes.images, *axes.patches]:
            if artist.get_visible() and not _is_finite(artist):
                raise SweepError(f"{here}: NaN or infinity in a {type(artist).__name__}")


def _visit_and_redraw(explorer: "Explorer", values: dict[str, Any]) -> tuple[np.ndarray, str]:
    shown = _visit(explorer, values)
    _not_stale(explorer, f"at {values}")
    return shown


def _not_stale(explorer: "Explorer", here: str) -> None:
    if not np.array_equal(explorer.frame, explorer.redraw()):
        raise SweepError(f"{here}: the kept background is stale: update changed what a redraw shows differently")


def _tried(control: Any) -> list:
    """Every choice, every point of a slider that has at most 24, and twelve of a longer one."""
    everything = positions(control, limit=10**6)
    slider = hasattr(control, "continuous_update")
    return positions(control, limit=12) if slider and len(everything) > 24 else everything


def _is_finite(artist: Artist) -> bool:
    data = [artist.get_xydata()] if hasattr(artist, "get_xydata") else []
    if hasattr(artist, "get_array") and artist.get_array() is not None:
        data.append(artist.get_array())
    if hasattr(artist, "get_offsets"):
        data.append(artist.get_offsets())
    if isinstance(artist, LineCollection | PolyCollection):
        data.extend(path.vertices for path in artist.get_paths())
    if isinstance(artist, Patch):
        data.append(artist.get_patch_transform().transform(artist.get_path().vertices))
    return all(np.isfinite(np.ma.filled(np.ma.asarray(values, dtype=float), np.nan)).all() for values in data)


def _random_position(control: Any, rng: np.random.Generator) -> Any:
    choices = positions(control, limit=10**6)
    return choices[rng.integers(len(choices))]
