"""Style: series stay apart in colour, for colour-blind readers, in grey and by line style and marker."""

from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from helpers.lab import style

SERIES = range(6)
# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency",
# IEEE TVCG 15(6), 2009, severity 1.0; the matrices act on linear RGB.
BLIND = {
    "none": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)  # IEC 61966-2-1, D65


def linear(colour):
    encoded = np.array(mpl.colors.to_rgb(colour))
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIE 1976 L*a*b* of a linear RGB colour, white D65."""
    ratio = RGB_TO_XYZ @ np.clip(rgb, 0, 1) / RGB_TO_XYZ.sum(axis=1)
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def drawn(k):
    """The dash pattern that is drawn, in units of the line's width."""
    return Line2D([], [], linewidth=1, linestyle=style.series(k)["linestyle"])._unscaled_dash_pattern


@pytest.fixture(autouse=True)
def _own_settings():
    with mpl.rc_context():
        yield


@pytest.mark.parametrize("vision", BLIND)
def test_every_pair_of_series_differs_in_colour(vision):
    """A difference of 2.3 is just noticeable for large patches; ten times as much is asked for without a deficiency."""
    colours = [lab(BLIND[vision] @ linear(style.series(k)["color"])) for k in SERIES]
    apart = min(np.linalg.norm(a - b) for a, b in combinations(colours, 2))
    assert apart >= (23 if vision == "none" else 9)


def test_every_pair_of_series_differs_in_line_style_and_marker():
    for a, b in combinations(SERIES, 2):
        assert drawn(a) != drawn(b)
        assert style.series(a, marker=True)["marker"] != style.series(b, marker=True)["marker"]


def test_neighbouring_series_differ_in_grey():
    lightness = [lab(linear(style.series(k)["color"]))[0] for k in SERIES]
    assert min(abs(np.diff(lightness))) >= 5


def test_every_series_is_dark_enough_on_white():
    """Contrast against white as WCAG 2 defines it; the palette's yellow, left out, has 1.3."""
    for k in SERIES:
        luminance = RGB_TO_XYZ[1] @ linear(style.series(k)["color"])
        assert 1.05 / (luminance + 0.05) >= 2.2


def test_series_values():
    assert style.series(0) == {"color": "#0072B2", "linestyle": "-"}
    assert style.series(5) == {"color": "#CC79A7", "linestyle": (0, (8, 3))}
    assert style.series(2, marker=True) == {"color": "#009E73", "linestyle": "-.", "marker": "^"}
    assert style.series(2, marker=True, line=False) == {"color": "#009E73", "linestyle": "none", "marker": "^"}


@pytest.mark.parametrize("k", [-1, 6, 100])
def test_no_seventh_series(k, refuses):
    with refuses(ValueError, f"k must lie in 0…5, got {k}"):
        style.series(k)


def test_named_colours_are_the_series_and_two_neutrals():
    names = list(style.COLORS)
    assert [style.series(k)["color"] for k in SERIES] == [style.COLORS[name] for name in names[:6]]
    assert names[6:] == ["black", "grey"]
    assert len(set(style.COLORS.values())) == 8


def test_use_makes_plots_follow_the_series():
    mpl.rcdefaults()
    style.use()
    lines = Figure().subplots().plot(np.eye(6))
    for k, line in enumerate(lines):
        assert line.get_color() == style.series(k)["color"]
        assert line._unscaled_dash_pattern == drawn(k)
        assert line.get_linewidth() == 1.8


def test_use_sets_every_setting():
    mpl.rcdefaults()
    style.use()
    assert {name: mpl.rcParams[name] for name in style.RC} == style.RC | {"font.family": ["DejaVu Sans"]}


def test_colour_maps_exist_and_the_signed_one_is_white_in_the_middle():
    assert mpl.colormaps[style.FIELD].name == "cividis"
    signed = mpl.colormaps[style.SIGNED]
    assert min(signed(0.5)) > 0.95
    low, high = signed(0.0), signed(1.0)
    assert low[2] > low[0]  # blue below zero
    assert high[0] > high[2]  # red above


def test_field_map_rises_in_grey():
    greys = [lab(linear(colour))[0] for colour in mpl.colormaps[style.FIELD](np.linspace(0, 1, 32))]
    assert np.all(np.diff(greys) > 0)
