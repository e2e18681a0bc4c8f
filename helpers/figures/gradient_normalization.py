"""Pictures of notebook 08: critics normalised by their gradient, their regions, jumps and generators."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

from helpers import wgan
from helpers.lab import Stored, style
from helpers.lab.figures import legend_below

Array = NDArray[np.float64]

LOOKS: dict[str, dict] = {
    "GN": style.series(0),
    "GraN": style.series(1),
    "inner": style.series(2),
    "plain": style.series(4),
    "GP": style.series(5),
    "no penalty": style.series(3),
}
MODES = {"GP": "raw", "GN": "gn", "GraN": "gran", "plain": "plain", "inner": "inner"}
_GREY = style.COLORS["grey"]


class Landscape:
    """A trained critic: its values, the gradient norm that autograd reports, and a cut through both."""

    SCHEMES: ClassVar = list(MODES)
    TASKS: ClassVar = ["rings", "two scales"]
    WIDTHS: ClassVar = [16, 64]
    _LIM, _PIXELS, _CUT = 4.0, 90, 400

    def __init__(self, figure: Figure) -> None:
        self.stored = Stored("gradient_normalization_sweep_snapshots")
        self.critic = lru_cache(maxsize=8)(self._critic)
        left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.15))
        blank = np.zeros((self._PIXELS, self._PIXELS))
        where = {"origin": "lower", "extent": 2 * (-self._LIM, self._LIM)}
        self.values = left.imshow(blank, cmap=style.SIGNED, vmin=-1, vmax=1, **where)
        self.norms = middle.imshow(blank, cmap=style.FIELD, vmin=0, vmax=1.2, **where)
        self.regions = middle.imshow(np.zeros((*blank.shape, 4)), **where)
        self.bar = figure.colorbar(self.values, ax=left, orientation="horizontal", ticks=(-1, 0, 1))
        figure.colorbar(self.norms, ax=middle, orientation="horizontal", extend="max", ticks=(0, 0.5, 1))
        cut = {"color": style.COLORS["black"], "linestyle": "--", "linewidth": 1}
        self.lines = [axes.axhline(0, **cut) for axes in (left, middle)]
        (self.value,) = right.plot([], [], label="value", **style.series(0))
        (self.integral,) = right.plot([], [], label="integral of autograd's gradient", **style.series(4))
        left.set(title="value of the critic", ylabel="$x_2$", xlabel="$x_1$")
        middle.set(title="gradient norm, by autograd", xlabel="$x_1$")
        right.set(title="along the dashed line", xlabel="$x_1$", xlim=(-self._LIM, self._LIM), ylim=(-1.2, 1.2))
        right.set_yticks([-1, 0, 1])
        right.tick_params(axis="y", labelrotation=90)  # numbers of any length in the same place
        for axes in (left, middle):
            axes.grid(visible=False)
        legend_below(figure, right)
        axis = np.linspace(-self._LIM, self._LIM, self._PIXELS)
        self.points = torch.tensor(np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2))

    def _critic(self, task: str, scheme: str, width: int, step: int) -> tuple[nn.Sequential, Array, Array, Array]:
        """The critic in float64, its values and gradients on the pixels, and the pixels at a boundary."""
        row = self.stored.row(section="critic", task=task, scheme=scheme, width=width)
        net = wgan.unpack_critic(row["parameters"][str(step)], [2, width, width, 1]).double()
        with torch.no_grad():
            value, grad = (tensor.numpy() for tensor in wgan.input_gradient(net, self.points))
        return net, value, grad, wgan.region_boundary_mask(net, self._LIM, self._PIXELS)

    def update(self, scheme: str, step: int, task: str, width: int, eps: float, cut: float) -> str:
        """Show a stored critic after `step` updates; ε is that of GraN, and free to differ from the trained one."""
        net, raw, grad, boundary = self.critic(task, scheme, width, step)
        norm, mode = np.linalg.norm(grad, axis=1), MODES[scheme]
        value = (
            (grad * self.points.numpy()).sum(1) / norm if mode == "inner" else
            wgan.normalized_value(raw, norm, mode, eps)
        )  # fmt: skip
        local, shape = wgan.gradient_norm_affine(raw, norm, mode, eps), boundary.shape
        largest = np.abs(value).max()
        self.values.set_data(value.reshape(shape) / largest)
        ends = [f"-{_small(largest)}", "0", _small(largest)]
        self.bar.ax.set_xticklabels(ends)
        self.value.axes.set_yticklabels(ends, va="center")
        self.norms.set_data(local.reshape(shape))
        self.regions.set_data(boundary[..., None] * np.array([0, 0, 0, 0.25]))
        jumps = self._show_cut(net, mode, eps, cut, largest)
        steepest = f"{min(local.max(), 99):.2f}"
        return (
            f"{scheme}, width {width}, step {step}, {task}: values within ±{_small(largest)}; largest gradient norm "
            f"by autograd {steepest}. On the dashed line: borders {jumps.size}, largest jump "
            f"{_small(np.abs(jumps).max(initial=0))}, sum of |jump| {_small(np.abs(jumps).sum())}."
        )

    def _show_cut(self, net: nn.Sequential, mode: str, eps: float, height: float, unit: float) -> Array:
        """Draw both curves, in units of the largest value on the pixels; the jumps, in units of the critic."""
        for line in self.lines:
            line.set_ydata([height, height])
        x = np.linspace(-self._LIM, self._LIM, self._CUT)
        points = np.stack([x, np.full_like(x, height)], axis=1)
        with torch.no_grad():
            value = wgan.gradient_normalize(net, torch.tensor(points), mode, eps).numpy()
        crossings = wgan.boundary_crossings(net, points[:1], points[-1:])
        jumps = crossings.jumps(mode, eps)
        gained = np.concatenate([[0], np.cumsum(jumps)])[np.searchsorted(crossings.point[:, 0], x)]
        self.value.set_data(x, value / unit)
        self.integral.set_data(x, (value - gained) / unit)
        return jumps


def _small(number: float) -> str:
    """Two digits, without a power of ten; rounding noise as zero."""
    return "0" if number < 1e-6 else f"{float(f'{number:.2g}'):g}"


class TwoPieces:
    """A critic of two straight pieces: what each rule makes of it, and how its mean changes with the kink."""

    _NAMES: ClassVar = {"no penalty": "raw", "plain": "plain", "GN": "gn", "GraN": "gran"}
    _LABELS: ClassVar = ["D", "D/n", "GN", "GraN"]
    _X = np.linspace(-3, 3, 241)

    def __init__(self, figure: Figure) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
        self.pieces = {}
        for (name, mode), label in zip(self._NAMES.items(), self._LABELS, strict=True):
            first = left.plot([], [], label=label, **LOOKS[name])[0]
            self.pieces[mode] = (first, left.plot([], [], **LOOKS[name])[0])
        self.kink = left.axvline(0, color=_GREY, linestyle=":", linewidth=1, label="kink")
        left.set(xlim=(-3, 3), ylim=(-3.2, 3.2), xlabel="x", ylabel="value", title="the critic, and what becomes of it")
        place = np.arange(4)
        look = {"height": np.zeros(4), "width": 0.36}
        self.true = right.bar(place - 0.2, label="true derivative", color=style.COLORS["green"], **look)
        self.auto = right.bar(
            place + 0.2, label="mean of autograd's", color=style.COLORS["vermilion"], hatch="//", **look
        )
        right.axhline(0, color=style.COLORS["black"], linewidth=0.8)
        right.set_yscale("symlog", linthresh=0.1)
        right.set(ylim=(-30, 30), ylabel="dE/dt", title="how the mean changes with the kink t")
        right.set_yticks([-10, -1, -0.1, 0, 0.1, 1, 10], labels=["-10", "-1", "-0.1", "0", "0.1", "1", "10"])
        right.set_xticks(place, labels=self._LABELS)
        right.minorticks_off()
        legend_below(figure, left, right)

    def update(self, offset: float, slope: float, fold: bool, kink: float) -> str:
        """D = offset + x up to the kink; from there its slope is `slope`, or minus that when it folds back."""
        bend = (-slope if fold else slope) - 1
        at_kink, x = offset + kink, self._X
        sides = (np.append(x[x < kink], kink), np.insert(x[x > kink], 0, kink))
        self.kink.set_xdata([kink, kink])
        for mode, pieces in self.pieces.items():
            for piece, part, norm in zip(pieces, sides, (1.0, slope), strict=True):
                value = wgan.two_piece_value(part, offset, 1.0, bend, kink)
                piece.set_data(part, wgan.normalized_value(value, norm, mode))
        pairs = [wgan.two_piece_gradients(offset, 1.0, bend, kink, mode) for mode in self.pieces]
        for true, auto, pair in zip(self.true, self.auto, pairs, strict=True):
            true.set_height(_level(pair[0]))
            auto.set_height(_level(pair[1]))
        jumps = {mode: float(wgan.boundary_jump(at_kink, 1.0, slope, mode)) for mode in ("plain", "gn", "gran")}
        said = ", ".join(f"{name} {_signed(jumps[mode])}" for name, mode in zip(self._LABELS[1:], jumps, strict=True))
        true, auto = pairs[2]
        return (
            f"At the kink D = {_signed(at_kink)}, slopes 1 and {_signed(1 + bend)}. Jumps: {said}; GN's is at most "
            f"{_signed(float(wgan.max_boundary_jump(1.0, slope)))}. dE/dt of GN: true {_signed(true)}, autograd "
            f"{_signed(auto)}."
        )


def _level(number: float) -> float:
    """Rounding noise as zero: it would differ from processor to processor."""
    return number if abs(number) > 1e-9 else 0.0


def _signed(number: float) -> str:
    return f"{_level(number):.3g}"


class Sharpness:
    """The two pieces joined by a softplus of sharpness β: a smooth critic whose jump has become a steep slope."""

    RULES: ClassVar = ["GN", "GraN", "plain"]
    OFFSET, KINK = 0.8, 0.3

    def __init__(self, figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        for axes, kind in ((left, "value"), (right, "slope")):
            smooth = axes.plot([], [], label="smooth, β", zorder=3, **style.series(0))[0]
            kinked = [axes.plot([], [], label="ReLU", zorder=2, **style.series(4))[0] for _ in range(2)]
            setattr(self, kind, (smooth, kinked))
        right.axhline(1, color=_GREY, linestyle=":", label="slope 1")
        left.set(xlim=(-1, 1.6), ylim=(-0.7, 2.4), xlabel="x", ylabel="normalised critic", title="value")
        right.set(
            xlim=(-1, 1.6), yscale="log", ylim=(0.03, 3000), xlabel="x", ylabel="|slope| of it, by autograd",
            title="local norm",
        )  # fmt: skip
        legend_below(figure, left, right)
        fine = np.logspace(-6, 0.2, 180)
        self.x = np.sort(np.append(self.KINK + np.concatenate([-fine[::-1], [0], fine]), -self.OFFSET))  # and D = 0

    def _smooth(self, slope: float, beta: float) -> Any:
        return lambda x: (
            self.OFFSET + x[:, 0]
            + (slope - 1) * nn.functional.softplus(x[:, 0] - self.KINK, beta=beta, threshold=30)
        )  # fmt: skip

    def update(self, rule: str, beta: float, slope: float) -> str:
        """Normalise the smooth critic and the kinked one, and let autograd measure both."""
        mode, x = MODES[rule], torch.tensor(self.x)[:, None]
        critic = self._smooth(slope, beta)
        with torch.no_grad():
            value = wgan.gradient_normalize(critic, x, mode).numpy()
        local = wgan.local_norm(critic, x, mode).numpy()
        self.value[0].set_data(self.x, value)
        self.slope[0].set_data(self.x, np.maximum(local, 0.01))
        bend, flat = slope - 1, []
        sides = (np.append(self.x[self.x < self.KINK], self.KINK), self.x[self.x >= self.KINK])
        for piece, part, norm in zip(range(2), sides, (1.0, slope), strict=True):
            kinked = wgan.two_piece_value(part, self.OFFSET, 1.0, bend, self.KINK)
            self.value[1][piece].set_data(part, wgan.normalized_value(kinked, norm, mode))
            flat.append(wgan.gradient_norm_affine(kinked, norm, mode))
            self.slope[1][piece].set_data(part, flat[-1])
        jump = float(wgan.boundary_jump(self.OFFSET + self.KINK, 1.0, slope, mode))
        return (
            f"{rule}, β = {beta:.4g}, slopes 1 and {slope:.3g}: largest local norm of the smooth critic "
            f"{local.max():.3g}, of the ReLU critic {np.concatenate(flat).max():.3g}. Jump of the ReLU critic at the "
            f"kink: {_signed(jump)}."
        )


class Samples:
    """Generators at work: their samples over the data, the way the critic pushes them, and the distance left."""

    RUNS: ClassVar[Mapping[str, dict[str, str]]] = {
        "GP": {"scheme": "GP", "loss": "Wasserstein"},
        "GN": {"scheme": "GN", "loss": "Wasserstein"},
        "GraN": {"scheme": "GraN", "loss": "logistic"},
        "GraN, W-loss": {"scheme": "GraN", "loss": "Wasserstein"},
        "inner": {"scheme": "inner", "loss": "Wasserstein"},
    }
    _SHOWN = 256

    def __init__(self, figure: Figure) -> None:
        self.stored = Stored("gradient_normalization_sweep_snapshots")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.2))
        task = wgan.GAN_TASKS["8 Gaussians"]
        data = task.sample(self._SHOWN, np.random.default_rng(0))
        left.plot(*data.T, marker=".", linestyle="none", color=_GREY, alpha=0.5, label="data")
        (self.points,) = left.plot([], [], marker="o", markersize=3, **_dots("GN"), label="generated")
        zeros = np.zeros(self._SHOWN)
        self.arrows = left.quiver(
            *np.zeros((2, self._SHOWN)), zeros, zeros, angles="xy", scale_units="xy", scale=1, width=0.004,
            color=style.COLORS["black"], alpha=0.6,
        )  # fmt: skip
        left.set(xlim=(-3.2, 3.2), ylim=(-3.2, 3.2), aspect="equal", xlabel="$x_1$", ylabel="$x_2$")
        left.set_title("samples, pushed along the arrows")
        self.curves(right)
        self.here = right.axvline(0, color=_GREY, linestyle=":", linewidth=1)
        legend_below(figure, left, right)

    def curves(self, axes: Axes) -> None:
        """The distance of each run's samples to the data over its whole training."""
        for k, name in enumerate(self.RUNS):
            row = self._row(name)
            look = LOOKS[name] if name in LOOKS else style.series(3)
            axes.plot(row["frames"], row["wasserstein1"], label=name, zorder=3 - 0.1 * k, **look)
        axes.set(yscale="log", ylim=(0.08, 200), xlim=(0, max(row["frames"])), xlabel="updates of the generator")
        axes.set(ylabel="$W_1$ to the data", title="how far the samples are")

    def _row(self, name: str) -> dict[str, Any]:
        return self.stored.row(section="gan", task="8 Gaussians", **self.RUNS[name])

    def update(self, scheme: str, step: int, arrows: bool) -> str:
        """Show the stored samples of one scheme after `step` updates of its generator."""
        row = self._row(scheme)
        k = row["frames"].index(step)
        samples, push = (wgan.unpack(row[key][k], (self._SHOWN, 2)) for key in ("samples", "directions"))
        self.points.set_data(*samples.T)
        self.arrows.set_offsets(samples)
        self.arrows.set_UVC(*(0.4 * push.T if arrows else np.zeros_like(push.T)))
        self.here.set_xdata([step, step])
        inside = np.abs(samples).max(axis=1) < 3.2
        return (
            f"{scheme}, {step} updates: W₁ to the data {_small(row['wasserstein1'][k])}, mean arrow "
            f"{np.linalg.norm(push, axis=1).mean():.2g}, {np.mean(inside):.0%} of the samples inside the frame."
        )


def _dots(name: str) -> dict[str, Any]:
    return {"color": LOOKS[name]["color"], "linestyle": "none"}
