"""Figures as every reader gets them: a picture, a visible caption, and the same sentence as text."""

import io
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

WIDTH = 8.4  # inches; 840 px at the style's 100 dpi fit a window of 1280 px without being scaled


def blank(height: float = 3.6) -> Figure:
    """Empty figure of the collection's width, height in inches, with an Agg canvas and no pyplot."""
    fig = Figure(figsize=(WIDTH, height), dpi=100, layout="constrained")
    FigureCanvasAgg(fig)
    return fig


def subplots(rows: int = 1, columns: int = 1, *, height: float = 3.6, **options: object) -> tuple[Figure, Axes]:
    """Figure of the collection's width with its axes, outside pyplot so that nothing is shown twice or left open.

    Parameters
    ----------
    rows, columns : int
        The grid of axes.
    height : float
        Inches.
    **options
        Passed on to ``Figure.subplots``.

    Examples
    --------
    >>> fig, axes = subplots(1, 2)
    >>> len(axes)
    2
    """
    fig = blank(height)
    return fig, fig.subplots(rows, columns, **options)


def legend_below(fig: Figure, *axes: Axes, columns: int | None = None) -> None:
    """One legend for several panels, below them where it covers none; a label that occurs twice is shown once.

    Parameters
    ----------
    fig : Figure
        Made by `blank` or `subplots`; becomes 0.3 in taller per row of the legend.
    *axes : Axes
        The panels.
    columns : int, optional
        Entries per row; all in one row by default.

    Examples
    --------
    >>> fig, panels = subplots(1, 2)
    >>> _ = [ax.plot([0, 1], label="the same line") for ax in panels]
    >>> legend_below(fig, *panels)
    >>> [text.get_text() for text in fig.legends[0].get_texts()]
    ['the same line']
    """
    handles = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    columns = columns or len(handles)
    fig.set_figheight(fig.get_figheight() + 0.3 * -(-len(handles) // columns))
    fig.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns)


def figure(fig: Figure, caption: str) -> None:
    """Show a figure with its caption in the picture, as ``text/plain`` and as alternative text.

    The caption is what nbval compares, what a screen reader reads and what stays when pictures are off:
    put the figure's numbers in it.

    Raises
    ------
    ValueError
        When the caption is empty.

    Examples
    --------
    >>> fig, ax = subplots()
    >>> _ = ax.plot([0, 1])
    >>> figure(fig, "A straight line.")
    A straight line.
    """
    if not caption.strip():
        raise ValueError("caption must say what the figure shows, got an empty string")
    fig.canvas.draw()
    display(StaticTwin(pixels(fig), caption))


def still(picture: Callable[[Figure], Any], **values: Any) -> None:
    """Show an Explorer's picture at one position, without controls.

    Examples
    --------
    >>> class Power:
    ...     def __init__(self, figure):
    ...         self.line, = figure.subplots().plot([0, 1], [0, 1])
    ...     def update(self, n):
    ...         return f"A line, to the power {n}."
    >>> still(Power, n=1)
    A line, to the power 1.
    """
    fig = blank()
    figure(fig, picture(fig).update(**values))


class StaticTwin:
    """What a reader without a kernel sees: a picture with its sentence below it.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (height, width, 3)
        The picture.
    caption : str
        One or two sentences; becomes a band below the picture, ``text/plain`` and the alternative text.
    """

    def __init__(self, rgb: np.ndarray, caption: str) -> None:
        self.rgb = np.vstack([rgb, _caption_band(caption, rgb.shape[1])])
        self.caption = caption

    def __repr__(self) -> str:
        return self.caption

    def _repr_mimebundle_(self, **_: object) -> tuple[dict, dict]:
        height, width, _channels = self.rgb.shape
        data = {"image/png": png(self.rgb, compress_level=9), "text/plain": self.caption}
        return data, {"image/png": {"alt": self.caption, "width": width, "height": height}}


def _caption_band(caption: str, width: int) -> np.ndarray:
    lines = textwrap.wrap(caption, int(width / 9))
    fig = Figure(figsize=((width + 0.1) / 100, (18 * len(lines) + 14.1) / 100), dpi=100)
    fig.text(12 / width, 0.5, "\n".join(lines), va="center", parse_math=False, fontsize=10, linespacing=1.3)
    FigureCanvasAgg(fig).draw()
    return pixels(fig)


def pixels(fig: Figure) -> np.ndarray:
    """Copy of what the figure's canvas holds, shape (height, width, 3), 8 bits per colour."""
    return np.asarray(fig.canvas.buffer_rgba())[..., :3].copy()


def png(rgb: np.ndarray, compress_level: int = 1) -> bytes:
    """Encode pixels, shape (height, width, 3), as PNG: level 1 is fast, 9 small."""
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "png", compress_level=compress_level)
    return stream.getvalue()


def without_caption(rgb: np.ndarray, caption: str) -> np.ndarray:
    """The picture of a `StaticTwin` without the band that holds its caption, for pages that show it as text.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (height, width, 3)
        The picture with the band.
    caption : str
        What the band says; it decides how many lines the band has.

    Raises
    ------
    ValueError
        When the picture is not higher than the band.

    Examples
    --------
    >>> twin = StaticTwin(np.zeros((200, 300, 3), np.uint8), "A caption.")
    >>> twin.rgb.shape, without_caption(twin.rgb, "A caption.").shape
    ((232, 300, 3), (200, 300, 3))
    """
    band = len(_caption_band(caption, rgb.shape[1]))
    if len(rgb) <= band:
        raise ValueError(f"rgb must be higher than its caption's band of {band} pixels, got {len(rgb)}")
    return rgb[:-band]
