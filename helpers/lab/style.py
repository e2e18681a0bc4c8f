"""One look for every figure: colour-blind-safe, and readable in grey because colour never stands alone."""

import matplotlib as mpl
from cycler import cycler

# Okabe and Ito's palette without its yellow (too pale on white), ordered so that neighbours differ in grey too.
COLORS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "sky": "#56B4E9",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
    "black": "#000000",
    "grey": "#7F7F7F",
}
FIELD = "cividis"
SIGNED = "RdBu_r"
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P")

_ORDER = list(COLORS.values())[:6]
RC = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=_ORDER) + cycler(linestyle=LINES),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.dpi": 100,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "grid.alpha": 0.3,
    "image.cmap": FIELD,
    "legend.fancybox": False,
    "legend.framealpha": 1.0,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
}


def use() -> None:
    """Set the style for every figure made after this call.

    Examples
    --------
    >>> use()
    >>> mpl.rcParams["image.cmap"]
    'cividis'
    """
    mpl.rcParams.update(RC)


def series(k: int, *, marker: bool = False, line: bool = True) -> dict:
    """Colour with its own line style and, if asked for, its own marker: the look of series number k.

    Raises
    ------
    ValueError
        When k is not in 0…5: a figure with more series needs panels, not a seventh colour.

    Examples
    --------
    >>> series(1)
    {'color': '#E69F00', 'linestyle': '--'}
    """
    if not 0 <= k < len(_ORDER):
        raise ValueError(f"k must lie in 0…{len(_ORDER) - 1}, got {k}")
    look = {"color": _ORDER[k], "linestyle": LINES[k] if line else "none"}
    return look | ({"marker": MARKERS[k]} if marker else {})
