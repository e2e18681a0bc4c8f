"""Figures: the picture, its caption band, and the same sentence as text."""

import io

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font
from PIL import Image

from helpers.lab import figure, still, subplots
from helpers.lab.figures import StaticTwin, blank, legend_below, pixels, png, without_caption

LONG = (
    "With 400 training rows the closed form reaches a test accuracy that is within the standard error of the maximum "
    "likelihood fit, as the theory of efficiency predicts when the classes share a covariance."
)
CAPTIONS = [
    "A straight line.",
    LONG,
    "0.1234567 " * 40,
    "12 345 678, " * 30,
    "word and other words " * 60,
]


def decode(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def band(caption, width=840):
    """The caption band alone: what stands below a picture one pixel high."""
    return StaticTwin(np.zeros((1, width, 3), np.uint8), caption).rgb[1:]


def ink(rgb):
    """Rows and columns of all pixels that are not white."""
    return np.argwhere((rgb < 250).any(axis=2))


def test_every_figure_is_840_pixels_wide():
    with mpl.rc_context({"figure.dpi": 200}):
        fig, ax = subplots()
    assert fig.axes == [ax]
    assert blank().axes == []
    for made in (fig, blank()):
        made.canvas.draw()
        assert pixels(made).shape == (360, 840, 3)
        assert type(made.get_layout_engine()).__name__ == "ConstrainedLayoutEngine"


def test_subplots_grid_height_and_options():
    fig, axes = subplots(2, 3, height=5.0, sharex=True)
    assert axes.shape == (2, 3)
    assert fig.get_figheight() == 5.0
    axes[0, 0].set_xlim(3, 4)
    assert axes[1, 2].get_xlim() == (3, 4)
    assert subplots(2)[1].shape == (2,)
    assert subplots(columns=2)[1].shape == (2,)


def test_no_figure_stays_open_in_pyplot():
    fig, _ = subplots()
    figure(fig, "Empty axes.")
    assert plt.get_fignums() == []


def test_pixels_of_a_drawn_figure():
    fig = Figure(figsize=(0.5, 0.25), dpi=100, facecolor="#0172B2")
    FigureCanvasAgg(fig).draw()
    rgb = pixels(fig)
    assert (rgb.shape, rgb.dtype) == ((25, 50, 3), np.uint8)
    assert np.array_equal(np.unique(rgb.reshape(-1, 3), axis=0), [[0x01, 0x72, 0xB2]])
    rgb[:] = 0  # a copy: the canvas keeps its own
    assert pixels(fig).min() == 0x01


def test_png_round_trip():
    rgb = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    data = png(rgb)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert np.array_equal(decode(data), rgb)


def test_png_is_fast_in_the_explorer_and_small_on_the_page():
    fig, ax = subplots()
    ax.plot(np.sin(np.arange(200)))
    fig.canvas.draw()
    rgb = pixels(fig)
    assert png(rgb) == png(rgb, compress_level=1)
    assert len(png(rgb, compress_level=9)) < len(png(rgb))
    twin = StaticTwin(rgb, "A wave.")
    assert twin._repr_mimebundle_()[0]["image/png"] == png(twin.rgb, compress_level=9)


def test_twin_keeps_the_picture_and_its_width():
    rgb = np.random.default_rng(0).integers(0, 256, (40, 840, 3), dtype=np.uint8)
    twin = StaticTwin(rgb, "One line.")
    assert np.array_equal(twin.rgb[:40], rgb)
    assert twin.rgb.shape == (40 + 32, 840, 3)  # one line of 18 pixels and a margin of 14
    assert (twin.caption, repr(twin)) == ("One line.", "One line.")


@pytest.mark.parametrize("width", [900, 840, 640, 402, 406, 201])
def test_twin_of_any_width(width):
    assert StaticTwin(np.zeros((3, width, 3), np.uint8), "One line.").rgb.shape == (35, width, 3)


@pytest.mark.parametrize("caption", CAPTIONS)
def test_the_picture_comes_back_without_its_caption(caption):
    rgb = np.random.default_rng(0).integers(0, 255, (50, 840, 3), np.uint8)
    assert np.array_equal(without_caption(StaticTwin(rgb, caption).rgb, caption), rgb)


def test_a_picture_must_be_higher_than_its_caption(refuses):
    with refuses(ValueError, "rgb must be higher than its caption's band of 32 pixels, got 32"):
        without_caption(band("A straight line."), "A straight line.")


def test_band_grows_by_whole_lines():
    heights = [band("word " * count).shape[0] for count in (1, 10, 40, 80, 160)]
    assert heights[:2] == [32, 32]
    assert heights == sorted(heights)
    assert {(height - 14) % 18 for height in heights} == {0}
    assert heights[-1] >= 14 + 6 * 18


@pytest.mark.parametrize("caption", CAPTIONS)
def test_nothing_of_the_caption_is_cut_off(caption):
    rgb = band(caption)
    assert rgb.shape[1] == 840
    rows, columns = ink(rgb).T
    assert columns.min() >= 10
    assert columns.max() <= 835
    assert rows.min() >= 4
    assert rows.max() <= rgb.shape[0] - 5
    assert abs(rows.min() - (rgb.shape[0] - 1 - rows.max())) <= 6  # as much room above as below


def test_caption_fills_the_width():
    """Ordinary English uses more than two thirds of the line before it breaks."""
    assert ink(band(LONG))[:, 1].max() > 560


def test_caption_size_is_that_of_the_collection():
    """Advance widths from the font file: 40 m at 10 points and 100 dpi, from the margin of 12 pixels on."""
    font = get_font(mpl.font_manager.findfont("DejaVu Sans"))
    font.set_size(10, 100)
    font.set_text("m" * 40)
    width = font.get_width_height()[0] / 64
    with mpl.rc_context({"font.size": 20, "figure.dpi": 200}):
        columns = ink(band("m" * 40))[:, 1]
    assert columns.min() == 12 + 1  # an m begins one pixel after its origin
    assert np.ptp(columns) == pytest.approx(width, abs=3)


def test_dollar_signs_are_not_maths():
    """$mmmm$ as maths would be four italic letters; as text it is six upright characters."""
    plain = np.ptp(ink(band("mmmm"))[:, 1])
    assert np.ptp(ink(band("$mmmm$"))[:, 1]) > plain + 10


def test_lines_of_the_caption_stand_one_below_the_other():
    rgb = band("mmmm " * 200)  # no letter above or below the others
    rows = np.unique(ink(rgb)[:, 0])
    starts = rows[np.flatnonzero(np.diff(rows, prepend=-9) > 1)]
    assert len(starts) == (rgb.shape[0] - 14) // 18
    assert np.all(np.abs(starts - starts[0] - 18 * np.arange(len(starts))) <= 3)
    extents = [(c.min(), c.max()) for c in (ink(rgb[start : start + 12])[:, 1] for start in starts[:-1])]
    assert len(set(extents)) == 1


def test_figure_prints_the_caption(capsys):
    fig, _ = subplots()
    assert figure(fig, "Empty axes.") is None
    assert capsys.readouterr() == ("Empty axes.\n", "")


def test_figure_shows_picture_caption_and_alternative_text(shown):
    fig, ax = subplots(height=2.0)
    ax.plot([0, 1])
    figure(fig, "A straight line.")
    ax.plot([1, 0])  # what is shown is the figure at the time of the call
    (twin,) = shown
    data, metadata = twin._repr_mimebundle_(include=None, exclude=None)
    assert set(data) == {"image/png", "text/plain"}
    assert data["text/plain"] == "A straight line."
    picture = decode(data["image/png"])
    assert picture.shape == (200 + 32, 840, 3)
    assert metadata == {"image/png": {"alt": "A straight line.", "width": 840, "height": 232}}
    other = Figure(figsize=(8.4, 2), dpi=100, layout="constrained")
    FigureCanvasAgg(other)
    other.subplots().plot([0, 1])
    other.canvas.draw()
    assert np.array_equal(picture[:200], np.asarray(other.canvas.buffer_rgba())[..., :3])


@pytest.mark.parametrize("caption", ["", "  ", "\n\t"])
def test_figure_needs_a_caption(caption, refuses, shown):
    fig, _ = subplots()
    with refuses(ValueError, "caption must say what the figure shows, got an empty string"):
        figure(fig, caption)
    assert shown == []


class Power:
    def __init__(self, fig):
        (self.line,) = fig.subplots().plot([0, 1, 2], [0, 1, 4])

    def update(self, n, low=0):
        self.line.set_ydata([low, 1, 2**n])
        return f"2 to the power {n} is {2**n}." if n else ""


def test_still_is_the_picture_at_one_position(shown):
    assert still(Power, n=3, low=1) is None
    fig = blank()
    figure(fig, Power(fig).update(n=3, low=1))
    one, other = shown
    assert repr(one) == "2 to the power 3 is 8."
    assert one.rgb.shape == (360 + 32, 840, 3)
    assert np.array_equal(one.rgb, other.rgb)
    assert plt.get_fignums() == []


def test_still_needs_a_caption(refuses):
    with refuses(ValueError, "caption must say what the figure shows, got an empty string"):
        still(Power, n=0)


class TestLegendBelow:
    def labels(self, fig):
        return [text.get_text() for text in fig.legends[0].get_texts()]

    def test_every_label_once_in_the_order_of_the_panels(self):
        fig, (left, right) = subplots(1, 2)
        left.plot([0, 1], label="a")
        left.plot([0, 1], label="b")
        right.plot([0, 1], label="b")
        right.plot([0, 1], label="c")
        legend_below(fig, left, right)
        assert self.labels(fig) == ["a", "b", "c"]

    @pytest.mark.parametrize(("columns", "rows"), [(None, 1), (3, 1), (2, 2), (1, 3)])
    def test_the_figure_grows_by_the_rows_of_the_legend(self, columns, rows):
        fig, ax = subplots(height=3.0)
        for label in "abc":
            ax.plot([0, 1], label=label)
        legend_below(fig, ax, columns=columns)
        assert fig.get_figheight() == pytest.approx(3.0 + 0.3 * rows)

    def test_it_covers_no_panel(self):
        fig, ax = subplots()
        ax.plot([0, 1], label="a line")
        legend_below(fig, ax)
        fig.canvas.draw()
        assert fig.legends[0].get_window_extent().y1 <= ax.get_tightbbox().y0
