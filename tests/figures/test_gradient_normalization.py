"""Pictures of notebook 08: what they draw is what autograd, quadrature and the stored runs say."""

import math
import re

import numpy as np
import pytest
import torch
from matplotlib import colors as mcolors
from matplotlib import lines as mlines
from scipy import integrate, stats

from helpers import wgan
from helpers.figures import gradient_normalization as figures
from helpers.lab import style
from helpers.lab.figures import blank


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?", text)]


@pytest.fixture(scope="module")
def landscape():
    return figures.Landscape(blank())


class TestLandscape:
    def draw(self, picture, **values):
        default = {"scheme": "GN", "step": 1500, "task": "rings", "width": 16, "eps": 0.1, "cut": 0.5}
        return picture.update(**(default | values))

    def network(self, picture, scheme, step=1500, task="rings", width=16):
        row = picture.stored.row(section="critic", task=task, scheme=scheme, width=width)
        return wgan.unpack_critic(row["parameters"][str(step)], [2, width, width, 1]).double()

    @pytest.mark.parametrize(
        ("scheme", "step"), [("GP", 1500), ("GN", 50), ("GraN", 1500), ("plain", 400), ("inner", 1500)]
    )
    def test_values_and_norms_are_those_of_autograd(self, landscape, scheme, step):
        caption = self.draw(landscape, scheme=scheme, step=step)
        mode, net = figures.MODES[scheme], self.network(landscape, scheme, step)
        some = slice(0, 8100, 97)
        x = landscape.points[some]
        value = wgan.gradient_normalize(net, x, mode).detach().numpy()
        local = wgan.local_norm(net, x, mode).numpy()
        shown, norms = (image.get_array().data.ravel() for image in (landscape.values, landscape.norms))
        assert np.abs(shown).max() == 1
        scale = value[0] / shown[some][0]
        assert scale > 0
        assert np.allclose(scale * shown[some], value, rtol=1e-9, atol=1e-9)
        assert np.allclose(norms[some], local, rtol=1e-9)
        assert caption.startswith(f"{scheme}, width 16, step {step}, rings: values within ±{figures._small(scale)};")
        assert f"largest gradient norm by autograd {norms.max():.2f}." in caption

    def test_pixels_are_where_the_axes_say(self, landscape):
        points = landscape.points.reshape(90, 90, 2)
        assert points[0, -1].tolist() == [4, -4]
        assert points[-1, 0].tolist() == [-4, 4]
        assert landscape.values.get_extent() == [-4, 4, -4, 4]
        assert landscape.values.origin == "lower"

    def test_borders_are_dark(self, landscape):
        self.draw(landscape)
        mask = wgan.region_boundary_mask(self.network(landscape, "GN"), 4.0, 90)
        pixels = landscape.regions.get_array().data
        assert (pixels[mask] == [0, 0, 0, 0.25]).all()
        assert not pixels[~mask].any()

    @pytest.mark.parametrize("scheme", ["GN", "GraN", "plain", "inner"])
    def test_the_gap_between_the_curves_is_the_jumps(self, landscape, scheme):
        caption = self.draw(landscape, scheme=scheme, cut=-1.0)
        mode, net = figures.MODES[scheme], self.network(landscape, scheme)
        unit = np.abs(wgan.gradient_normalize(net, landscape.points, mode).detach().numpy()).max()
        x, value = landscape.value.get_data()
        value, integral = unit * value, unit * landscape.integral.get_ydata()
        assert (x[0], x[-1]) == (-4, 4)
        points = torch.tensor(np.stack([x, np.full_like(x, -1.0)], axis=1), requires_grad=True)
        drawn = wgan.gradient_normalize(net, points, mode)
        assert np.allclose(value, drawn.detach().numpy(), rtol=1e-9)
        # between two points in one region the integral moves by the slope that autograd reports, and nothing jumps
        (slope,) = torch.autograd.grad(drawn.sum(), points)
        pattern = wgan.activation_pattern(net, points.detach().numpy())
        same = (pattern[1:] == pattern[:-1]).all(1)
        steps, slope = np.diff(integral), slope[:, 0].numpy()
        trapezoid = (slope[1:] + slope[:-1]) / 2 * np.diff(x)
        assert np.allclose(steps[same], trapezoid[same], atol=3e-4)
        assert np.allclose(steps[same], np.diff(value)[same], atol=1e-9)
        assert np.abs(steps[~same]).max() < 1.01 * np.diff(x).max()  # across borders it stays 1-Lipschitz
        assert np.abs(np.diff(value)[~same]).max() > 0.03
        assert "largest jump 0," not in caption
        for line in landscape.lines:
            assert list(line.get_ydata()) == [-1, -1]

    def test_a_raw_critic_does_not_jump(self, landscape):
        caption = self.draw(landscape, scheme="GP")
        assert "largest jump 0, sum of |jump| 0." in caption
        assert np.array_equal(landscape.value.get_ydata(), landscape.integral.get_ydata())

    def test_the_caption_counts_the_jumps(self, landscape):
        caption = self.draw(landscape, scheme="GraN", cut=0.5)
        net = self.network(landscape, "GraN")
        found = np.abs(wgan.boundary_crossings(net, [[-4.0, 0.5]], [[4.0, 0.5]]).jumps("gran", 0.1))
        assert f"line: borders {found.size}, largest jump {figures._small(found.max())}," in caption
        assert caption.endswith(f"sum of |jump| {figures._small(found.sum())}.")

    def test_epsilon_shrinks_gran_and_nothing_else(self, landscape):
        small, large = (self.draw(landscape, scheme="GraN", eps=eps) for eps in (0.001, 10.0))
        assert numbers(small.partition("±")[2])[0] > 2 * numbers(large.partition("±")[2])[0]
        assert self.draw(landscape, scheme="GN", eps=10.0) == self.draw(landscape, scheme="GN")

    def test_every_stored_critic_can_be_shown(self, landscape):
        for task in landscape.TASKS:
            for scheme in landscape.SCHEMES:
                for width in landscape.WIDTHS:
                    row = landscape.stored.row(section="critic", task=task, scheme=scheme, width=width)
                    assert {"50", "100", "200", "400", "800", "1500"} <= set(row["parameters"])


@pytest.mark.parametrize(
    ("number", "text"), [(0.0, "0"), (9e-7, "0"), (1e-6, "1e-06"), (0.1234, "0.12"), (148.3, "150"), (2.0, "2")]
)
def test_small(number, text):
    assert figures._small(number) == text


@pytest.fixture(scope="module")
def two_pieces():
    return figures.TwoPieces(blank())


def mean_derivative(rule, offset, right, kink):
    """Difference quotient, with respect to the kink, of the mean over N(0, 1), by quadrature."""

    def mean(t):
        def value(x):
            D, n = (offset + x, 1) if x < t else (offset + t + right * (x - t), abs(right))
            return {"raw": D, "plain": D / n, "gn": D / (n + abs(D)), "gran": D * n / (n * n + 0.1)}[rule]

        weighed = lambda x: value(x) * stats.norm.pdf(x)  # noqa: E731
        return sum(integrate.quad(weighed, *ends, epsabs=1e-12, limit=200)[0] for ends in ((-8, t), (t, 8)))

    return (mean(kink + 1e-4) - mean(kink - 1e-4)) / 2e-4


class TestTwoPieces:
    def test_pieces_meet_only_in_the_raw_critic(self, two_pieces):
        caption = two_pieces.update(offset=0.8, slope=2.5, fold=False, kink=0.3)
        ends = {m: (a.get_ydata()[-1], b.get_ydata()[0]) for m, (a, b) in two_pieces.pieces.items()}
        for first, second in two_pieces.pieces.values():
            assert (first.get_xdata()[0], first.get_xdata()[-1]) == (-3, 0.3)
            assert (second.get_xdata()[0], second.get_xdata()[-1]) == (0.3, 3)
        assert ends["raw"] == pytest.approx((1.1, 1.1))
        assert ends["plain"] == pytest.approx((1.1, 0.44))
        assert ends["gn"] == pytest.approx((1.1 / 2.1, 1.1 / 3.6))
        assert ends["gran"] == pytest.approx((1.1 / 1.1, 1.1 * 2.5 / 6.35))
        assert caption == (
            "At the kink D = 1.1, slopes 1 and 2.5. Jumps: D/n -0.66, GN -0.218, GraN -0.567; GN's is at most 0.225. "
            "dE/dt of GN: true 0.0241, autograd -0.0591."
        )
        assert list(two_pieces.kink.get_xdata()) == [0.3, 0.3]

    @pytest.mark.parametrize(
        ("offset", "slope", "fold", "kink"), [(0.8, 2.5, False, 0.3), (-1.5, 0.5, False, -0.4), (0.7, 2.0, True, 0.2)]
    )
    def test_bars_are_the_true_derivative_and_the_part_inside_the_pieces(self, two_pieces, offset, slope, fold, kink):
        two_pieces.update(offset=offset, slope=slope, fold=fold, kink=kink)
        right = -slope if fold else slope
        for k, (rule, (first, second)) in enumerate(two_pieces.pieces.items()):
            true, auto = (bars[k].get_height() for bars in (two_pieces.true, two_pieces.auto))
            assert true == pytest.approx(mean_derivative(rule, offset, right, kink), rel=1e-3, abs=1e-6)
            gap = first.get_ydata()[-1] - second.get_ydata()[0]
            assert true - auto == pytest.approx(gap * stats.norm.pdf(kink), abs=1e-9)

    def test_folding_back_with_the_same_slope_ends_all_jumps(self, two_pieces):
        caption = two_pieces.update(offset=1.3, slope=1.0, fold=True, kink=-0.5)
        assert "slopes 1 and -1. Jumps: D/n 0, GN 0, GraN 0; GN's is at most 0." in caption
        for k in range(4):
            assert two_pieces.true[k].get_height() == pytest.approx(two_pieces.auto[k].get_height())
            assert two_pieces.true[k].get_height() > 0

    def test_no_kink_no_derivative(self, two_pieces):
        two_pieces.update(offset=0.5, slope=1.0, fold=False, kink=0.0)
        assert [bar.get_height() for bars in (two_pieces.true, two_pieces.auto) for bar in bars] == [0] * 8


def test_rounding_noise_is_zero():
    assert figures._signed(-3e-17) == "0"
    assert figures._signed(-0.12345) == "-0.123"
    assert figures._level(1e-8) == 1e-8


@pytest.fixture(scope="module")
def sharpness():
    return figures.Sharpness(blank())


class TestSharpness:
    def curves(self, picture, **values):
        caption = picture.update(**({"rule": "GN", "beta": 30.0, "slope": 4.0} | values))
        return caption, picture.value[0].get_ydata(), picture.slope[0].get_ydata()

    def test_slope_is_the_formula_of_second_derivatives(self, sharpness):
        _, value, slope = self.curves(sharpness)
        u = sharpness.x - 0.3
        gate = 1 / (1 + np.exp(-30 * u))
        D = 0.8 + sharpness.x + 3 * np.logaddexp(0, 30 * u) / 30
        n, H = 1 + 3 * gate, 3 * 30 * gate * (1 - gate)
        assert np.allclose(value, D / (n + np.abs(D)), atol=1e-9)
        expected = np.abs(n * n - D * H) / (n + np.abs(D)) ** 2
        assert np.allclose(slope, np.maximum(expected, 0.01), atol=1e-6)

    @pytest.mark.parametrize("rule", ["GN", "GraN", "plain"])
    def test_steepness_grows_with_beta_and_is_gone_in_the_kink(self, sharpness, rule):
        _, _, before = self.curves(sharpness, rule=rule, beta=300.0)
        caption, _, slope = self.curves(sharpness, rule=rule, beta=3000.0)
        assert slope.max() == pytest.approx(10 * before.max(), rel=0.03)
        jump = float(wgan.boundary_jump(1.1, 1.0, 4.0, figures.MODES[rule]))
        assert f"Jump of the ReLU critic at the kink: {jump:.3g}." in caption
        flat = np.concatenate([piece.get_ydata() for piece in sharpness.slope[1]])
        assert flat.max() <= 1 + 1e-12
        assert f"smooth critic {slope.max():.3g}, of the ReLU critic {flat.max():.3g}. " in caption

    def test_the_kinked_critic_has_two_pieces_with_a_gap(self, sharpness):
        self.curves(sharpness, rule="plain")
        left, right = sharpness.value[1]
        assert left.get_xdata()[-1] == right.get_xdata()[0] == 0.3
        assert left.get_ydata()[-1] == pytest.approx(1.1)
        assert right.get_ydata()[0] == pytest.approx(1.1 / 4)
        assert np.allclose(right.get_ydata(), (1.1 + 4 * (right.get_xdata() - 0.3)) / 4)
        smooth = sharpness.value[0].get_ydata()
        assert smooth[0] == pytest.approx(left.get_ydata()[0], abs=1e-6)
        assert smooth[-1] == pytest.approx(right.get_ydata()[-1], abs=1e-6)
        assert (np.diff(left.get_xdata()) > 0).all()
        assert left.get_ydata()[0] == pytest.approx(0.8 + left.get_xdata()[0])

    def test_without_a_bend_all_is_straight(self, sharpness):
        caption, _, slope = self.curves(sharpness, rule="plain", slope=1.0)
        assert np.allclose(slope, 1)
        assert caption == (
            "plain, β = 30, slopes 1 and 1: largest local norm of the smooth critic 1, of the ReLU critic 1. Jump of "
            "the ReLU critic at the kink: 0."
        )


@pytest.fixture(scope="module")
def samples():
    return figures.Samples(blank())


class TestSamples:
    def test_points_and_arrows_are_the_stored_ones(self, samples):
        caption = samples.update(scheme="GN", step=400, arrows=True)
        row = samples.stored.row(section="gan", task="8 Gaussians", scheme="GN", loss="Wasserstein")
        k = row["frames"].index(400)
        points, push = (wgan.unpack(row[key][k], (256, 2)) for key in ("samples", "directions"))
        assert np.array_equal(np.transpose(samples.points.get_data()), points)
        assert np.array_equal(samples.arrows.get_offsets(), points)
        assert np.allclose(np.stack([samples.arrows.U, samples.arrows.V], axis=1), 0.4 * push)
        assert list(samples.here.get_xdata()) == [400, 400]
        assert f"GN, 400 updates: W₁ to the data {figures._small(row['wasserstein1'][k])}, mean arrow " in caption
        assert f"arrow {np.linalg.norm(push, axis=1).mean():.2g}, " in caption

    def test_arrows_can_be_put_away(self, samples):
        samples.update(scheme="GN", step=400, arrows=False)
        assert not samples.arrows.U.any()
        assert not samples.arrows.V.any()

    def test_frames_of_every_scheme_fit_the_slider(self, samples):
        for name in samples.RUNS:
            assert samples._row(name)["frames"] == list(range(0, 801, 50))

    def test_curves_are_the_stored_distances(self, samples):
        curves = {line.get_label(): line for line in samples.here.axes.get_lines()}
        for name in samples.RUNS:
            row = samples._row(name)
            assert list(curves[name].get_xdata()) == row["frames"]
            assert np.allclose(curves[name].get_ydata(), row["wasserstein1"])

    def test_the_share_inside_the_frame(self, samples):
        assert samples.update(scheme="inner", step=800, arrows=True).endswith(", 100% of the samples inside the frame.")
        caption = samples.update(scheme="GraN, W-loss", step=100, arrows=True)
        points = np.transpose(samples.points.get_data())
        share = np.mean((np.abs(points) < 3.2).all(axis=1))
        assert math.isclose(numbers(caption)[-1], 100 * share, abs_tol=0.5)
        assert 0.5 < share < 0.95
        assert samples.update(scheme="GraN, W-loss", step=800, arrows=True).endswith(
            ", 0% of the samples inside the frame."
        )


def frame(axes):
    """What a reader sees of the axes alone: title, labels, scales, limits, and ticks where they are set by hand."""
    ticks = [text.get_text() for text in axes.get_yticklabels()] if axes.get_yscale() == "symlog" else []
    return (
        axes.get_title(), axes.get_xlabel(), axes.get_ylabel(), axes.get_xscale(), axes.get_yscale(),
        (*axes.get_xlim(), *axes.get_ylim()), ticks, len(axes.yaxis.get_minorticklocs()) > 0,
    )  # fmt: skip


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def has_look(line, k):
    """Whether a line has the colour and the line style of the collection's series k, and no marker."""
    like = mlines.Line2D([], [], **style.series(k))
    looks = [(it.get_color(), it.get_linestyle(), it._unscaled_dash_pattern, it.get_marker()) for it in (line, like)]
    return looks[0] == looks[1]


def thin(line, color, dash="--", width=1.0):
    return (line.get_color(), line.get_linestyle(), line.get_linewidth()) == (style.COLORS[color], dash, width)


def test_look_of_the_landscape():
    figure = blank()
    picture = figures.Landscape(figure)
    left, middle, right, *bars = figure.axes
    square = (-4, 4, -4, 4)
    assert frame(left) == ("value of the critic", "$x_1$", "$x_2$", "linear", "linear", square, [], False)
    assert frame(middle) == ("gradient norm, by autograd", "$x_1$", "", "linear", "linear", square, [], False)
    assert frame(right) == ("along the dashed line", "$x_1$", "", "linear", "linear", (-4, 4, -1.2, 1.2), [], False)
    caption = picture.update("GraN", 1500, "rings", 64, 0.1, 0.3)
    assert ": values within ±150;" in caption
    for axis in (right.yaxis, bars[0].xaxis):
        assert list(axis.get_ticklocs()) == [-1, 0, 1]
        assert [text.get_text() for text in axis.get_ticklabels()] == ["-150", "0", "150"]
    assert {(text.get_rotation(), text.get_va()) for text in right.get_yticklabels()} == {(90, "center")}
    assert legend(figure) == ["value", "integral of autograd's gradient"]
    assert figure.get_figheight() == pytest.approx(3.9)
    images = ((picture.values, style.SIGNED, (-1, 1)), (picture.norms, style.FIELD, (0, 1.2)))
    for image, name, limits in images:
        assert image.get_cmap().name == name
        assert image.get_clim() == limits
    for image in (picture.values, picture.norms, picture.regions):
        assert image.origin == "lower"
        assert image.get_extent() == [-4, 4, -4, 4]
    assert [bar.get_xlim() for bar in bars] == [(-1, 1), (0, 1.2)]
    assert list(bars[1].get_xticks()) == [0, 0.5, 1]
    assert [picture.values.colorbar.extend, picture.norms.colorbar.extend] == ["neither", "max"]
    assert [image.colorbar.orientation for image in (picture.values, picture.norms)] == ["horizontal"] * 2
    assert has_look(picture.value, 0)
    assert has_look(picture.integral, 4)
    assert all(thin(line, "black") for line in picture.lines)
    assert [line.axes for line in picture.lines] == [left, middle]
    assert not any(line.get_visible() for axes in (left, middle) for line in axes.get_xgridlines())
    assert list(figure.axes[0].get_subplotspec().get_gridspec().get_width_ratios()) == [1, 1, 1.15]


def test_look_of_the_two_pieces():
    figure = blank()
    picture = figures.TwoPieces(figure)
    left, right = figure.axes
    title = "the critic, and what becomes of it"
    assert frame(left) == (title, "x", "value", "linear", "linear", (-3, 3, -3.2, 3.2), [], False)
    bars = ("how the mean changes with the kink t", "", "dE/dt", "linear", "symlog")
    assert frame(right)[:5] == bars
    assert right.get_ylim() == (-30, 30)
    assert frame(right)[6:] == (["-10", "-1", "-0.1", "0", "0.1", "1", "10"], False)
    assert list(right.get_yticks()) == [-10, -1, -0.1, 0, 0.1, 1, 10]
    assert right.yaxis.get_transform().linthresh == 0.1
    assert list(right.get_xticks()) == [0, 1, 2, 3]
    assert [text.get_text() for text in right.get_xticklabels()] == ["D", "D/n", "GN", "GraN"]
    assert legend(figure) == ["D", "D/n", "GN", "GraN", "kink", "true derivative", "mean of autograd's"]
    assert list(picture.pieces) == ["raw", "plain", "gn", "gran"]
    for pieces, k in zip(picture.pieces.values(), (3, 4, 0, 1), strict=True):
        assert all(has_look(piece, k) for piece in pieces)
    assert thin(picture.kink, "grey", ":")
    for container, shift, color, hatch in ((picture.true, -0.2, "green", None), (picture.auto, 0.2, "vermilion", "//")):
        assert [bar.get_x() + 0.18 for bar in container] == pytest.approx([k + shift for k in range(4)])
        assert all(bar.get_width() == pytest.approx(0.36) for bar in container)
        assert {bar.get_hatch() for bar in container} == {hatch}
        assert {bar.get_facecolor() for bar in container} == {mcolors.to_rgba(style.COLORS[color])}
    (zero,) = right.lines
    assert thin(zero, "black", "-", 0.8)
    assert list(zero.get_ydata()) == [0, 0]
    assert list(left.get_subplotspec().get_gridspec().get_width_ratios()) == [1.3, 1]


def test_look_of_sharpness():
    figure = blank()
    picture = figures.Sharpness(figure)
    left, right = figure.axes
    assert frame(left) == ("value", "x", "normalised critic", "linear", "linear", (-1, 1.6, -0.7, 2.4), [], False)
    local = ("local norm", "x", "|slope| of it, by autograd", "linear", "log", (-1, 1.6, 0.03, 3000))
    assert frame(right)[:6] == local
    assert legend(figure) == ["smooth, β", "ReLU", "slope 1"]
    for smooth, kinked in (picture.value, picture.slope):
        assert has_look(smooth, 0)
        assert len(kinked) == 2
        assert all(has_look(piece, 4) for piece in kinked)
        assert smooth.get_zorder() > kinked[0].get_zorder() == kinked[1].get_zorder()
    assert (picture.value[0].axes, picture.slope[0].axes) == (left, right)
    one = right.lines[-1]
    assert list(one.get_ydata()) == [1, 1]
    assert (one.get_color(), one.get_linestyle()) == (style.COLORS["grey"], ":")
    assert np.flatnonzero(picture.x == -0.8).size == 1  # where D = 0, and GN's slope reaches 1
    x = picture.x[picture.x != -0.8] - 0.3
    assert x.size == 361
    assert np.allclose(x, -x[::-1])
    assert x[-1] == pytest.approx(10**0.2)
    assert x[181] == pytest.approx(1e-6)


def test_look_of_the_samples():
    figure = blank()
    picture = figures.Samples(figure)
    left, right = figure.axes
    title = "samples, pushed along the arrows"
    square = (-3.2, 3.2, -3.2, 3.2)
    assert frame(left) == (title, "$x_1$", "$x_2$", "linear", "linear", square, [], False)
    labels = ("how far the samples are", "updates of the generator", "$W_1$ to the data", "linear", "log")
    assert frame(right)[:6] == (*labels, (0, 800, 0.08, 200))
    assert left.get_aspect() == 1
    assert legend(figure) == ["data", "generated", "GP", "GN", "GraN", "GraN, W-loss", "inner"]
    data, generated = left.lines
    real = wgan.GAN_TASKS["8 Gaussians"].sample(256, np.random.default_rng(0))
    assert np.array_equal(np.transpose(data.get_data()), real)
    assert (data.get_marker(), data.get_linestyle(), data.get_alpha()) == (".", "None", 0.5)
    assert data.get_color() == style.COLORS["grey"]
    assert (generated.get_marker(), generated.get_linestyle(), generated.get_markersize()) == ("o", "None", 3)
    assert generated.get_color() == style.COLORS["blue"]
    arrows = picture.arrows
    assert (arrows.angles, arrows.scale_units, arrows.scale, arrows.width, arrows.get_alpha()) == (
        "xy", "xy", 1, 0.004, 0.6
    )  # fmt: skip
    assert mcolors.same_color(arrows.get_facecolor()[0][:3], style.COLORS["black"])
    for line, k in zip(right.lines, (5, 0, 1, 3, 2), strict=False):
        assert has_look(line, k)
    heights = [line.get_zorder() for line in right.lines[:5]]
    assert heights == sorted(heights, reverse=True)
    assert heights == pytest.approx([3, 2.9, 2.8, 2.7, 2.6])
    assert thin(picture.here, "grey", ":")
    assert list(left.get_subplotspec().get_gridspec().get_width_ratios()) == [1, 1.2]
