"""Pictures of notebook 06: initial variances of matrices that are not square."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from helpers import initialization as ini
from helpers.lab import Stored, style
from helpers.lab.figures import legend_below
from helpers.lab.progress import one_bar

Array = NDArray[np.float64]

_BLACK, _GREY = (style.COLORS[name] for name in ("black", "grey"))
_LOOKS = {
    "geometric": style.series(0), "Xavier": style.series(4), "fan_in": style.series(2), "fan_out": style.series(3),
    "harmonic": style.series(1), "orthogonal": style.series(5),
}  # fmt: skip
MODES = {
    "geometric": "fan_geo_avg", "Xavier": "fan_avg", "fan_in": "fan_in", "fan_out": "fan_out",
    "harmonic": "fan_harmonic", "orthogonal": "max",
}  # fmt: skip


def _number(value: float) -> str:
    """Two significant digits, without an exponent where that is short."""
    return f"{value:.2g}"


class OneLayer:
    """Forward gain a = m v and backward gain b = n v of one layer, for every power mean and for the named rules."""

    POWERS = np.linspace(-4, 4, 65)
    RULES: ClassVar = {
        "1/min": "min", "recip. quadratic": "reciprocal_quadratic", "harmonic": "fan_harmonic",
        "geometric": "fan_geo_avg", "Wasserstein": "wasserstein", "Xavier": "fan_avg", "quadratic": "quadratic",
        "1/max": "max", "fan_in": "fan_in", "fan_out": "fan_out",
    }  # fmt: skip

    def __init__(self, figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        looks = {"forward a = m v": style.series(0, marker=True), "backward b = n v": style.series(1, marker=True)}
        rows = np.arange(len(self.RULES))
        self.curves, self.here, self.named = [], [], []
        for name, look in looks.items():
            self.curves.append(left.plot([], [], label=name, markevery=[], **look)[0])
            self.here.append(left.plot([], [], markersize=8, **(look | {"linestyle": "none"}))[0])
            (dots,) = right.plot([], [], markersize=6, **(look | {"linestyle": "none"}))
            self.named.append(dots)
        self.centre = right.plot(
            [], [], color=_BLACK, marker="|", markersize=13, linestyle="none", label="their centre √(ab)"
        )[0]  # fmt: skip
        self.spans = right.hlines([], [], [], colors=_GREY, linewidth=1)
        self.level = left.axhline(0, color=_GREY, linestyle=":", linewidth=1)
        for axes in (left, right):
            axes.axvline(1, color=_GREY, linewidth=1)
            axes.set(xscale="log", xlim=(1 / 130, 130), xlabel="factor of the second moment")
            axes.set_xticks([0.01, 0.1, 1, 10, 100], labels=["0.01", "0.1", "1", "10", "100"])
        left.set(ylim=(-4.3, 4.3), ylabel="exponent p of the mean", title="all power means")
        right.set(ylim=(len(rows) - 0.5, -0.5), title="the named rules")
        right.set_yticks(rows, labels=list(self.RULES))
        right.grid(visible=False, axis="y")
        legend_below(figure, left, right)

    def update(self, m: int, n: int, p: float) -> str:
        """Set both panels to a layer of m inputs and n outputs, and mark one exponent."""
        curve = np.array([ini.power_mean_variance(m, n, float(power)) for power in self.POWERS])
        v = ini.power_mean_variance(m, n, p)
        named = np.array([ini.init_variance(m, n, mode) for mode in self.RULES.values()])
        for k, fan in enumerate((m, n)):
            self.curves[k].set_data(fan * curve, self.POWERS)
            self.here[k].set_data([fan * v], [p])
            self.named[k].set_data(fan * named, range(named.size))
        self.level.set_ydata([p, p])
        self.centre.set_data(np.sqrt(m * n) * named, range(named.size))
        self.spans.set_segments([((m * value, k), (n * value, k)) for k, value in enumerate(named)])
        return (
            f"{m} inputs, {n} outputs, p = {p:g}: v = {v:.3g}, forward a = {m * v:.3g}, backward b = {n * v:.3g}. "
            f"There and back, {m} → {n} → {m}, both second moments are multiplied by mn v² = {m * n * v**2:.3g}."
        )


class Chain:
    """Second moments along d → rd → d → …: lines are exact expectations, dots one draw of all weights."""

    NARROW, SEED, BATCH = 32, 3, 16
    FLOOR, CEILING = 1e-10, 1e7

    def __init__(self, figure: Figure) -> None:
        panels = figure.subplots(1, 2, sharey=True)
        self.lines, self.dots = {}, {}
        for name, look in _LOOKS.items():
            self.lines[name] = [axes.plot([], [], label=name, **look)[0] for axes in panels]
            dot = {"color": look["color"], "marker": "o", "markersize": 3, "linestyle": "none"}
            self.dots[name] = [axes.plot([], [], **dot)[0] for axes in panels]
        for line in self.lines["geometric"] + self.dots["geometric"]:
            line.set_zorder(3)
        for axes, what in zip(panels, ("forward: E h² by layer", "backward: E g² by layer"), strict=True):
            axes.set(yscale="log", ylim=(self.FLOOR, self.CEILING), xlim=(-0.5, 32.5), xlabel="layer", title=what)
            axes.yaxis.set_minor_locator(NullLocator())
        panels[0].set_ylabel("second moment")
        legend_below(figure, *panels)

    def update(self, ratio: int, blocks: int, activation: str) -> str:
        """Recompute all schemes, exactly and for one draw of the weights."""
        widths = [self.NARROW] + [ratio * self.NARROW, self.NARROW] * blocks
        layers = np.arange(len(widths))
        options: dict[str, Any] = {"batch": self.BATCH, "seeds": 1, "activation": activation}
        exact = {name: ini.second_moment_gains(widths, mode, activation) for name, mode in MODES.items()}
        drawn = {
            orthogonal: ini.simulate_second_moments(
                widths, "fan_geo_avg", generator=np.random.default_rng(self.SEED), orthogonal=orthogonal, **options
            )
            for orthogonal in (False, True)
        }
        for name in MODES:
            for k in (0, 1):
                # layers are homogeneous: the same draw under another scheme is an exact multiple
                dots = drawn[name == "orthogonal"][k][0] * exact[name][k] / exact["geometric"][k]
                self._show(self.lines[name][k], layers, exact[name][k])
                self._show(self.dots[name][k], layers, dots)
        ends = ", ".join(f"{name} {_number(exact[name][0][-1])}" for name in MODES)
        one = _number(drawn[False][0][0, -1])
        return (
            f"{blocks} × ({self.NARROW} → {ratio * self.NARROW} → {self.NARROW}), {activation}: expected second moment "
            f"at the far end, forward and backward alike: {ends}. This draw of the geometric mean: forward {one}."
        )

    def _show(self, line: Any, layers: Array, values: Array) -> None:
        inside = (values > self.FLOOR / 10) & (values < self.CEILING * 10)  # what leaves the panel is cut off there
        line.set_data(layers[inside], values[inside])


class Weighted:
    """The family v = m^(α-1) n^(-α): second moments by layer and the relative gradient of every layer."""

    MOST = 9

    def __init__(self, figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        self.panels = (left, right)
        self.forward, self.backward = (
            left.plot([], [], label=label, **style.series(k, marker=True))[0]
            for k, label in enumerate(("forward E h²", "backward E g²"))
        )
        self.level = right.axhline(1, color=_GREY, linewidth=1, label="geometric: √(n₀ n_L)")
        self.stems = right.vlines([], [], [], colors=style.COLORS["black"], linewidth=1)
        (self.profile,) = right.plot([], [], label="this α", markersize=8, **style.series(2, marker=True, line=False))
        (self.xavier,) = right.plot([], [], label="Xavier", **style.series(4, marker=True, line=False))
        left.axhline(1, color=_GREY, linewidth=1)
        left.set(yscale="log", ylim=(1e-3, 1e3), ylabel="second moment", title="signal and gradient")
        right.set(yscale="log", ylim=(0.01, 1e4), ylabel="relative gradient", title="how fast each layer learns")
        for axes in self.panels:
            axes.set_xlabel("layer")
            axes.yaxis.set_minor_locator(NullLocator())
        legend_below(figure, left, right)

    def update(self, alpha: float, widths: str) -> str:
        """Read the widths, set α, show where the second moments and the relative gradients go."""
        n = parse_widths(widths, self.MOST)
        rule = lambda m, k: ini.weighted_geometric_variance(m, k, alpha)  # noqa: E731
        forward, backward = ini.second_moment_gains(n, rule)
        profile = ini.relative_gradient_profile(n, rule)
        layers = np.arange(len(n))
        if self.panels[0].get_xlim() != (-0.3, len(n) - 0.7):
            self.panels[0].set_xlim(-0.3, len(n) - 0.7)
            self.panels[1].set_xlim(0.4, len(n) - 0.4)
            self.panels[0].set_xticks(layers)
            self.panels[1].set_xticks(layers[1:])
        self.forward.set_data(layers, forward)
        self.backward.set_data(layers, backward)
        level = np.sqrt(n[0] * n[-1])
        self.level.set_ydata([level, level])
        self.stems.set_segments([((k, level), (k, value)) for k, value in zip(layers[1:], profile, strict=True)])
        self.profile.set_data(layers[1:], profile)
        self.xavier.set_data(layers[1:], ini.relative_gradient_profile(n, "fan_avg"))
        return (
            f"α = {alpha:.2f}: at the far ends forward {forward[-1]:.3g}, backward {backward[0]:.3g}, whatever lies "
            f"between. Relative gradients: {', '.join(f'{value:.3g}' for value in profile)}."
        )


def parse_widths(text: str, most: int) -> list[int]:
    """Whole numbers between commas or spaces.

    Raises
    ------
    ValueError
        When they are not 2 to `most` whole numbers from 1 to 1024.
    """
    words = text.replace(",", " ").split()
    if not (2 <= len(words) <= most and all(word.isdecimal() and 1 <= int(word) <= 1024 for word in words)):
        raise ValueError(f"widths must be 2 to {most} whole numbers from 1 to 1024, got {text!r}")
    return [int(word) for word in words]


def best_row(table: Stored, scheme: str, **settings: Any) -> dict:
    """Of the stored rows of a scheme with these settings, the one with the lowest median training loss."""
    return min(table.select(scheme=scheme, **settings), key=median_loss)


def median_loss(row: dict, key: str = "train_loss") -> float:
    """Median over the seeds; runs that diverged are infinitely bad."""
    return float(np.median([np.inf if value is None else value for value in row[key]]))


class Training:
    """Networks 64 - (256 - 64) × K - 10 on the digits, as stored: loss by step, accuracy by depth."""

    SCHEMES = ("geometric", "Xavier", "fan_in", "orthogonal")
    DEPTHS = (1, 3, 5, 10)
    SEEDS, STEPS = (100, 101, 102), 24  # of a run on the spot: seeds that the stored runs do not use

    def __init__(self, figure: Figure) -> None:
        self.sweep = Stored("nonsquare_initialization_sweep")
        self.block = self.sweep.common["steps_per_loss"]
        left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
        self.curves, self.points, self.means, self.bars = {}, {}, {}, {}
        for k, name in enumerate(self.SCHEMES):
            look = _LOOKS[name]
            hollow = {"color": look["color"], "marker": style.MARKERS[k], "linestyle": "none"}
            (self.curves[name],) = left.plot([], [], label=name, **look)
            (self.points[name],) = left.plot([], [], markerfacecolor="none", **hollow)
            (self.means[name],) = right.plot([], [], markersize=5, **(look | {"marker": style.MARKERS[k]}))
            self.bars[name] = right.vlines([], [], [], colors=look["color"], linewidth=1)
        self.here = right.axvline(1, color=_GREY, linestyle=":", linewidth=1)
        steps = 8 * (1347 // 64)
        left.set(xlim=(0, steps), ylim=(0.007, 4), yscale="log", xlabel="step", ylabel="training loss")
        left.set_title("median over the seeds")
        left.set_yticks([0.01, 0.1, 1], labels=["0.01", "0.1", "1"])
        right.set(xscale="log", xlim=(0.85, 12), ylim=(0, 1), xlabel="blocks K", ylabel="test accuracy")
        right.set_title("mean ± standard deviation")
        right.set_xticks(self.DEPTHS, labels=[str(depth) for depth in self.DEPTHS])
        right.minorticks_off()
        legend_below(figure, left)

    def update(self, depth: int, rate: float) -> str:
        """Show the stored runs of one depth and one step size."""
        said = []
        for name in self.SCHEMES:
            row = self._row(name, depth, rate)
            losses = np.array(row["losses"], dtype=float)
            self.curves[name].set_data((np.arange(losses.size) + 0.5) * self.block, losses)
            self.points[name].set_data([], [])
            accuracy = np.array([self._row(name, d, rate)["test_accuracy"] for d in self.DEPTHS], dtype=float)
            mean, deviation = accuracy.mean(axis=1), accuracy.std(axis=1, ddof=1)
            self.means[name].set_data(self.DEPTHS, mean)
            self.bars[name].set_segments(
                [((d, m - s), (d, m + s)) for d, m, s in zip(self.DEPTHS, mean, deviation, strict=True)]
            )
            said.append(f"{name} {median_loss(row):.2g} ({mean[self.DEPTHS.index(depth)]:.2f})")
        self.here.set_xdata([depth, depth])
        return (
            f"K = {depth}, {2 * depth + 1} layers, step size {rate:g}: final training loss (test accuracy) "
            f"{', '.join(said)}. Stored, 5 seeds."
        )

    def run(self, progress: Callable[..., Iterable], depth: int, rate: float) -> str:
        """Train the first steps now, on seeds that the stored runs do not use, and mark them in the left panel."""
        from helpers.nonsquare_training import digits_split, train_networks  # here: torch is not needed to look

        images, labels, *_ = digits_split()
        total = len(self.SCHEMES) * self.STEPS
        said = []
        self.update(depth, rate)
        with one_bar(progress, total, f"{len(self.SEEDS)} seeds of 4 schemes, {self.STEPS} steps each") as counted:
            for name in self.SCHEMES:
                settings = self._row(name, depth, rate)["settings"]
                losses = train_networks(
                    images, labels, settings["widths"], name, rate, settings["epochs"], self.SEEDS,
                    steps=self.STEPS, progress=counted,
                ).losses.numpy()  # fmt: skip
                blocks = np.median(losses.reshape(-1, self.block, len(self.SEEDS)).mean(axis=1), axis=1)
                self.points[name].set_data((np.arange(blocks.size) + 0.5) * self.block, blocks)
                said.append(f"{name} {blocks[-1]:.2g}")
        return (
            f"Trained now, K = {depth}, step size {rate:g}, 3 new seeds (hollow marks): loss of steps "
            f"{self.STEPS - self.block + 1} to {self.STEPS}: {', '.join(said)}."
        )

    def _row(self, scheme: str, depth: int, rate: float) -> dict:
        widths = [64] + [256, 64] * depth + [10]
        return self.sweep.row(section="depth", scheme=scheme, widths=widths, learning_rate=rate)
