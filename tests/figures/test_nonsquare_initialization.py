"""Pictures of notebook 06: what they draw is what the maths says."""

import re
from typing import ClassVar

import numpy as np
import pytest
from matplotlib import lines as mlines
from matplotlib.colors import to_rgba
from scipy import stats

from helpers import initialization as ini
from helpers.figures import nonsquare_initialization as figures
from helpers.lab import Stored, style
from helpers.lab.figures import blank


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?", text)]


def axes_of(axes):
    """What a reader sees of the axes alone: title, labels, scales, limits."""
    return (
        axes.get_title(), axes.get_xlabel(), axes.get_ylabel(), axes.get_xscale(), axes.get_yscale(),
        tuple(map(float, axes.get_xlim())), tuple(map(float, axes.get_ylim())),
    )  # fmt: skip


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def has_look(line, k, *, marker=None, line_style=True):
    """Whether a line has the colour, the line style and the marker of the collection's series k."""
    dashed = mlines.Line2D([], [], linestyle=style.LINES[k] if line_style else "none")
    return (
        line.get_color() == style.series(k)["color"]
        and line.get_linestyle() == dashed.get_linestyle()
        and line._unscaled_dash_pattern == dashed._unscaled_dash_pattern
        and line.get_marker() == ("None" if marker is None else marker)
    )


GREY = style.COLORS["grey"]


def test_look_of_one_layer():
    figure = blank()
    picture = figures.OneLayer(figure)
    left, right = figure.axes
    factor, limits = "factor of the second moment", (1 / 130, 130.0)
    assert axes_of(left) == (
        "all power means", factor, "exponent p of the mean", "log", "linear", limits, (-4.3, 4.3)
    )  # fmt: skip
    assert axes_of(right) == ("the named rules", factor, "", "log", "linear", limits, (9.5, -0.5))
    for axes in (left, right):
        assert list(axes.get_xticks()) == [0.01, 0.1, 1, 10, 100]
        assert [text.get_text() for text in axes.get_xticklabels()] == ["0.01", "0.1", "1", "10", "100"]
        (one,) = [line for line in axes.lines if list(line.get_xdata()) == [1, 1]]
        assert (one.get_color(), one.get_linewidth()) == (GREY, 1)
    assert [text.get_text() for text in right.get_yticklabels()] == list(picture.RULES)
    assert list(right.get_yticks()) == list(range(10))
    assert legend_of(figure) == ["forward a = m v", "backward b = n v", "their centre √(ab)"]
    for k, marker in enumerate("os"):
        assert has_look(picture.curves[k], k, marker=marker)
        assert picture.curves[k].get_markevery() == []
        for dots, size in ((picture.here[k], 8), (picture.named[k], 6)):
            assert has_look(dots, k, marker=marker, line_style=False)
            assert dots.get_markersize() == size
        assert picture.curves[k].axes is picture.here[k].axes is left
        assert picture.named[k].axes is right
    centre = picture.centre
    assert (centre.get_color(), centre.get_marker(), centre.get_markersize()) == (style.COLORS["black"], "|", 13)
    assert centre.get_linestyle() == "None"
    level = picture.level
    assert (level.get_color(), level.get_linestyle(), level.get_linewidth()) == (GREY, ":", 1)
    assert np.allclose(picture.spans.get_color(), to_rgba(GREY))
    assert list(picture.spans.get_linewidth()) == [1]


def test_look_of_the_chain():
    figure = blank()
    picture = figures.Chain(figure)
    left, right = figure.axes
    assert axes_of(left)[:3] == ("forward: E h² by layer", "layer", "second moment")
    assert axes_of(right)[:3] == ("backward: E g² by layer", "layer", "")
    for axes in (left, right):
        assert axes_of(axes)[3:] == ("linear", "log", (-0.5, 32.5), (1e-10, 1e7))
        assert len(axes.yaxis.get_minorticklocs()) == 0
    assert left.get_shared_y_axes().joined(left, right)
    assert legend_of(figure) == ["geometric", "Xavier", "fan_in", "fan_out", "harmonic", "orthogonal"]
    for name, k in zip(legend_of(figure), (0, 4, 2, 3, 1, 5), strict=True):
        for side, (line, dots) in enumerate(zip(picture.lines[name], picture.dots[name], strict=True)):
            assert line.axes is dots.axes is figure.axes[side]
            assert has_look(line, k)
            assert has_look(dots, k, marker="o", line_style=False)
            assert dots.get_markersize() == 3
            assert line.get_zorder() == dots.get_zorder() == (3 if name == "geometric" else 2)


def test_look_of_the_weighted_family():
    figure = blank()
    picture = figures.Weighted(figure)
    left, right = figure.axes
    assert axes_of(left)[:5] == ("signal and gradient", "layer", "second moment", "linear", "log")
    assert axes_of(right)[:5] == ("how fast each layer learns", "layer", "relative gradient", "linear", "log")
    assert (left.get_ylim(), right.get_ylim()) == ((1e-3, 1e3), (1e-2, 1e4))
    assert all(len(axes.yaxis.get_minorticklocs()) == 0 for axes in (left, right))
    assert legend_of(figure) == ["forward E h²", "backward E g²", "geometric: √(n₀ n_L)", "this α", "Xavier"]
    assert has_look(picture.forward, 0, marker="o")
    assert has_look(picture.backward, 1, marker="s")
    assert has_look(picture.profile, 2, marker="^", line_style=False)
    assert picture.profile.get_markersize() == 8
    assert has_look(picture.xavier, 4, marker="v", line_style=False)
    assert picture.forward.axes is picture.backward.axes is left
    assert picture.profile.axes is picture.xavier.axes is picture.level.axes is picture.stems.axes is right
    (one,) = [line for line in left.lines if list(line.get_ydata()) == [1, 1]]
    assert {(line.get_color(), line.get_linewidth()) for line in (one, picture.level)} == {(GREY, 1)}
    assert np.allclose(picture.stems.get_color(), to_rgba(style.COLORS["black"]))
    assert list(picture.stems.get_linewidth()) == [1]


def test_look_of_training():
    figure = blank()
    picture = figures.Training(figure)
    left, right = figure.axes
    assert axes_of(left) == (
        "median over the seeds", "step", "training loss", "linear", "log", (0, 168), (0.007, 4)
    )  # fmt: skip
    assert axes_of(right) == (
        "mean ± standard deviation", "blocks K", "test accuracy", "log", "linear", (0.85, 12), (0, 1)
    )  # fmt: skip
    assert [text.get_text() for text in left.get_yticklabels()] == ["0.01", "0.1", "1"]
    assert list(left.get_yticks()) == [0.01, 0.1, 1]
    assert [text.get_text() for text in right.get_xticklabels()] == ["1", "3", "5", "10"]
    assert list(right.get_xticks()) == [1, 3, 5, 10]
    assert len(right.xaxis.get_minorticklocs()) == 0
    assert left.get_position().width > right.get_position().width
    assert legend_of(figure) == ["geometric", "Xavier", "fan_in", "orthogonal"]
    for name, k, marker in zip(legend_of(figure), (0, 4, 2, 5), "os^D", strict=True):
        assert has_look(picture.curves[name], k)
        assert has_look(picture.points[name], k, marker=marker, line_style=False)
        assert picture.points[name].get_markerfacecolor() == "none"
        assert has_look(picture.means[name], k, marker=marker)
        assert picture.means[name].get_markersize() == 5
        assert picture.curves[name].axes is picture.points[name].axes is left
        assert picture.means[name].axes is picture.bars[name].axes is right
        assert np.allclose(picture.bars[name].get_color(), to_rgba(style.series(k)["color"]))
        assert list(picture.bars[name].get_linewidth()) == [1]
    assert (picture.here.get_color(), picture.here.get_linestyle(), picture.here.get_linewidth()) == (GREY, ":", 1)
    assert picture.here.axes is right


class TestOneLayer:
    picture = figures.OneLayer(blank())

    @pytest.mark.parametrize(("m", "n"), [(64, 256), (256, 64), (16, 1024)])
    def test_curves_are_power_means(self, m, n):
        self.picture.update(m, n, 1.0)
        for curve, fan in zip(self.picture.curves, (m, n), strict=True):
            x, p = curve.get_data()
            assert (p[0], p[-1], len(p)) == (-4, 4, 65)
            assert np.allclose(x, [fan / stats.pmean([m, n], power) for power in p])

    def test_marks_and_level(self):
        caption = self.picture.update(64, 256, -1.0)
        assert [dot.get_xydata().tolist() for dot in self.picture.here] == [[[0.625, -1.0]], [[2.5, -1.0]]]
        assert list(self.picture.level.get_ydata()) == [-1, -1]
        assert caption == (
            "64 inputs, 256 outputs, p = -1: v = 0.00977, forward a = 0.625, backward b = 2.5. "
            "There and back, 64 → 256 → 64, both second moments are multiplied by mn v² = 1.56."
        )

    def test_the_named_rules(self):
        self.picture.update(64, 256, 0.0)
        forward, backward = (
            dict(zip(self.picture.RULES, dots.get_xdata(), strict=True)) for dots in self.picture.named
        )
        assert forward["Xavier"] == pytest.approx(0.4)
        assert backward["Xavier"] == pytest.approx(1.6)
        assert (forward["geometric"], backward["geometric"]) == (0.5, 2.0)
        assert (forward["fan_in"], backward["fan_out"]) == (1, 1)
        assert (forward["1/min"], backward["1/max"]) == (1, 1)
        assert forward["quadratic"] == pytest.approx(5 / 17)
        assert forward["recip. quadratic"] == pytest.approx(0.85)
        assert forward["Wasserstein"] == pytest.approx(0.36)
        assert forward["harmonic"] == pytest.approx(0.625)
        for dots in (*self.picture.named, self.picture.centre):
            assert list(dots.get_ydata()) == list(range(10))
        centres = dict(zip(self.picture.RULES, self.picture.centre.get_xdata(), strict=True))
        for name, centre in centres.items():
            assert centre == pytest.approx(np.sqrt(forward[name] * backward[name]))
        assert centres["geometric"] == 1
        for k, segment in enumerate(self.picture.spans.get_segments()):
            ends = [(list(forward.values())[k], k), (list(backward.values())[k], k)]
            assert np.allclose(segment, ends)

    def test_all_agree_on_a_square(self):
        self.picture.update(64, 64, 3.0)
        for artist in (*self.picture.curves, *self.picture.here, *self.picture.named, self.picture.centre):
            assert np.allclose(artist.get_xdata(), 1)


class TestChain:
    picture = figures.Chain(blank())
    FACTORS: ClassVar = {  # per block d → 4d → d, by hand
        "geometric": 1, "Xavier": 0.64, "fan_in": 1, "fan_out": 1, "harmonic": 25 / 16, "orthogonal": 0.25,
    }  # fmt: skip

    @pytest.mark.parametrize("activation", ["linear", "relu"])
    def test_ends_of_the_lines(self, activation):
        caption = self.picture.update(4, 5, activation)
        for name, factor in self.FACTORS.items():
            forward, backward = (line.get_data() for line in self.picture.lines[name])
            assert list(forward[0]) == list(backward[0]) == list(range(11))
            assert np.allclose(forward[1][::2], factor ** np.arange(6))
            assert np.allclose(backward[1][::2], factor ** np.arange(6)[::-1])
            assert f"{name} {factor**5:.2g}" in caption
        assert caption.startswith(f"5 × (32 → 128 → 32), {activation}: ")

    def test_between_the_ends(self):
        self.picture.update(4, 2, "linear")
        inside = {name: [line.get_ydata()[1] for line in lines] for name, lines in self.picture.lines.items()}
        assert np.allclose(inside["fan_in"], [1, 0.25])
        assert np.allclose(inside["fan_out"], [0.25, 1])
        assert np.allclose(inside["geometric"], [0.5, 0.5])

    @pytest.mark.parametrize("activation", ["linear", "relu"])
    def test_dots_are_a_simulation_of_the_scheme_itself(self, activation):
        caption = self.picture.update(2, 3, activation)
        widths = [32] + [64, 32] * 3
        for name, mode in figures.MODES.items():
            runs = ini.simulate_second_moments(
                widths, mode, activation, batch=16, seeds=1, generator=np.random.default_rng(3),
                orthogonal=name == "orthogonal",
            )  # fmt: skip
            for dots, run in zip(self.picture.dots[name], runs, strict=True):
                assert np.allclose(dots.get_ydata(), run[0], rtol=1e-9)
            if name == "geometric":
                assert caption.endswith(f"This draw of the geometric mean: forward {runs[0][0, -1]:.2g}.")

    def test_what_leaves_the_panel_is_cut_off(self):
        self.picture.update(8, 16, "linear")
        drawn = self.picture.lines["orthogonal"][0].get_ydata()
        assert 1e-11 < drawn.min() < 1e-10
        assert len(drawn) < 33
        assert len(self.picture.lines["Xavier"][0].get_ydata()) == 33

    def test_equal_widths_make_all_schemes_equal(self):
        caption = self.picture.update(1, 3, "linear")
        assert caption.count(" 1,") == 5
        for lines in self.picture.lines.values():
            assert np.allclose(lines[0].get_ydata(), 1)


class TestWeighted:
    picture = figures.Weighted(blank())
    WIDTHS = "100, 300, 50, 200, 10"

    def test_fan_in(self):
        caption = self.picture.update(0.0, self.WIDTHS)
        assert np.allclose(self.picture.forward.get_ydata(), 1)
        assert np.allclose(self.picture.backward.get_ydata(), 10 / np.array([100, 300, 50, 200, 10]))
        assert np.allclose(self.picture.profile.get_ydata(), [10 / 3, 60, 2.5, 200])
        assert caption == (
            "α = 0.00: at the far ends forward 1, backward 0.1, whatever lies between. "
            "Relative gradients: 3.33, 60, 2.5, 200."
        )

    def test_the_geometric_mean_is_level(self):
        self.picture.update(0.5, self.WIDTHS)
        level = np.sqrt(1000)
        assert np.allclose(self.picture.profile.get_ydata(), level)
        assert np.allclose(self.picture.level.get_ydata(), level)
        assert np.allclose(self.picture.xavier.get_ydata(), [8.7074830, 13.3333333, 10.2040816, 36])

    def test_stems_go_from_the_level_to_the_marks(self):
        self.picture.update(1.0, self.WIDTHS)
        stems = np.array(self.picture.stems.get_segments())
        assert np.allclose(stems[:, 0, 1], np.sqrt(1000))
        assert np.allclose(stems[:, 1], np.column_stack([[1, 2, 3, 4], [300, 50 / 3, 400, 5]]))
        for artist in (self.picture.profile, self.picture.xavier):
            assert list(artist.get_xdata()) == [1, 2, 3, 4]
        for artist in (self.picture.forward, self.picture.backward):
            assert list(artist.get_xdata()) == [0, 1, 2, 3, 4]

    def test_another_chain(self):
        self.picture.update(1.0, "784 256 64 10")
        assert np.allclose(self.picture.forward.get_ydata(), 784 / np.array([784, 256, 64, 10]))
        left, right = self.picture.panels
        assert left.get_xlim() == (-0.3, 3.3)
        assert right.get_xlim() == (0.4, 3.6)
        assert list(left.get_xticks()) == [0, 1, 2, 3]
        assert list(right.get_xticks()) == [1, 2, 3]
        self.picture.update(1.0, self.WIDTHS)
        assert left.get_xlim() == (-0.3, 4.3)

    @pytest.mark.parametrize("text", ["", "5", "4, x", "4, 2.5", "4, -2", "0, 3", "3, 1025", "1 2 3 4 5 6 7 8 9 10"])
    def test_texts_that_are_no_widths(self, text):
        with pytest.raises(
            ValueError, match=re.escape(f"widths must be 2 to 9 whole numbers from 1 to 1024, got {text!r}")
        ):
            self.picture.update(0.5, text)

    def test_widths_between_commas_or_spaces(self):
        assert figures.parse_widths(" 1,1024  3 ,4", 4) == [1, 1024, 3, 4]
        assert figures.parse_widths("7 8", 9) == [7, 8]


class TestBestRow:
    sweep = Stored("nonsquare_initialization_sweep")

    def test_the_best_step_has_the_lowest_median(self):
        best = figures.best_row(self.sweep, "Xavier", section="tanh")
        losses = {
            row["settings"]["learning_rate"]: np.median(row["train_loss"])
            for row in self.sweep.rows
            if (row["settings"]["section"], row["settings"]["scheme"]) == ("tanh", "Xavier")
        }
        assert len(losses) == 3
        assert losses[best["settings"]["learning_rate"]] == min(losses.values())
        assert best["settings"]["section"] == "tanh"
        assert best["settings"]["scheme"] == "Xavier"

    def test_diverged_runs_are_infinitely_bad(self):
        assert figures.median_loss({"train_loss": [1.0, None, 3.0]}) == 3
        assert figures.median_loss({"train_loss": [None, None, 3.0]}) == np.inf


class TestTraining:
    picture = figures.Training(blank())

    def row(self, scheme, depth, rate):
        return self.picture.sweep.row(
            section="depth", scheme=scheme, learning_rate=rate, widths=[64] + [256, 64] * depth + [10]
        )

    @pytest.mark.parametrize(("depth", "rate"), [(5, 0.01), (10, 0.1), (1, 0.03)])
    def test_curves_are_the_stored_ones(self, depth, rate):
        caption = self.picture.update(depth, rate)
        assert caption.startswith(f"K = {depth}, {2 * depth + 1} layers, step size {rate:g}: ")
        for name in ("geometric", "Xavier", "fan_in", "orthogonal"):
            row = self.row(name, depth, rate)
            x, y = self.picture.curves[name].get_data()
            assert list(y) == row["losses"]
            assert list(x) == [8 * k + 4 for k in range(21)]
            accuracy = np.array([self.row(name, k, rate)["test_accuracy"] for k in (1, 3, 5, 10)])
            assert np.allclose(self.picture.means[name].get_ydata(), accuracy.mean(axis=1))
            assert list(self.picture.means[name].get_xdata()) == [1, 3, 5, 10]
            bars = np.array(self.picture.bars[name].get_segments())
            assert np.allclose(bars[:, :, 0], [[k, k] for k in (1, 3, 5, 10)])
            assert np.allclose(bars.mean(axis=1)[:, 1], accuracy.mean(axis=1))
            assert np.allclose(np.diff(bars[:, :, 1])[:, 0], 2 * accuracy.std(axis=1, ddof=1))
            mine = np.array(row["test_accuracy"]).mean()
            assert f"{name} {np.median(row['train_loss']):.2g} ({mine:.2f})" in caption
        assert list(self.picture.here.get_xdata()) == [depth, depth]

    def test_everything_stored_lies_in_the_panels(self):
        for depth in figures.Training.DEPTHS:
            for rate in (0.01, 0.03, 0.1):
                self.picture.update(depth, rate)
                for name in figures.Training.SCHEMES:
                    losses = self.picture.curves[name].get_ydata()
                    assert 0.007 < losses.min() <= losses.max() < 4

    def test_a_run_marks_its_first_steps(self, monkeypatch):
        picture = figures.Training(blank())
        monkeypatch.setattr(figures.Training, "STEPS", 16)
        counted = []
        caption = picture.run(
            lambda steps, name: (counted.append((k, name)) or k for k in steps), depth=1, rate=0.03
        )  # fmt: skip
        assert [k for k, _ in counted] == list(range(64))
        assert counted[0][1] == "3 seeds of 4 schemes, 16 steps each"
        assert caption.startswith(
            "Trained now, K = 1, step size 0.03, 3 new seeds (hollow marks): loss of steps 9 to 16: "
        )
        for name in picture.SCHEMES:
            x, y = picture.points[name].get_data()
            assert list(x) == [4, 12]
            assert f"{name} {y[1]:.2g}" in caption
            assert np.allclose(y, self.row(name, 1, 0.03)["losses"][:2], rtol=0.4)  # other seeds, the same learning
        assert picture.here.get_xdata()[0] == 1
        picture.update(1, 0.03)
        assert all(len(points.get_xdata()) == 0 for points in picture.points.values())

    def test_the_seeds_of_a_run_are_not_the_stored_ones(self):
        assert min(figures.Training.SEEDS) > max(row["settings"]["seeds"] for row in self.picture.sweep.rows)
