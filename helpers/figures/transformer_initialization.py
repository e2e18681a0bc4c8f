"""Pictures of notebook 04: initial weights, attention logits and residual towers of a Transformer."""

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import ClassVar

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import special

from helpers import initialization as ini
from helpers import residual_theory
from helpers.lab import Stored, style
from helpers.lab.figures import legend_below

Array = NDArray[np.float64]
Progress = Callable[[Iterable, str], Iterable]

_FLOOR = 1e-13  # below, the last bits differ from processor to processor: nothing to see there


class Truncation:
    """Cutting a normal law off: the standard deviation that is left, with relative and with absolute bounds."""

    BOUNDS: ClassVar = {"relative: ± c s": "relative", "absolute: ± c": "absolute"}
    _STDS = np.geomspace(0.005, 5, 121)

    def __init__(self, figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        self.uniform = np.random.default_rng(0).uniform(-1, 1, 20_000)
        self.edges = np.linspace(-4.4, 4.4, 89)
        centres = (self.edges[1:] + self.edges[:-1]) / 2
        self.bars = left.stairs(
            np.zeros(88), self.edges, fill=True, color=style.COLORS["sky"], alpha=0.6, label="20,000 samples"
        )  # fmt: skip
        left.plot(centres, np.exp(-(centres**2) / 2) / math.sqrt(2 * math.pi), label="wanted", **style.series(4))
        left.set(xlim=(-4.4, 4.4), ylim=(0, 1.1), xlabel="weight / s", ylabel="density", title="what is drawn")
        right.axhline(1, label="wanted", **style.series(4))
        self.curve = right.plot(self._STDS, np.ones(121), label="truncated", **style.series(0))[0]
        self.here = right.plot([], [], markersize=9, label="chosen s", **style.series(5, marker=True, line=False))[0]
        right.set(
            xscale="log", xlim=(0.004, 6), ylim=(0, 3.6), xlabel="wanted standard deviation s",
            ylabel="realised / wanted", title="what it has",
        )  # fmt: skip
        legend_below(figure, left, right)

    @staticmethod
    def ratio(std: float, cutoff: float, bounds: str, rescale: bool) -> tuple[float, float]:
        """(realised over wanted standard deviation, largest weight over s)."""
        factor = ini.truncated_normal_variance(cutoff) ** -0.5 if rescale else 1.0  # of the nominal deviation
        c = cutoff if bounds == "relative" else cutoff / (factor * std)  # in nominal deviations
        return factor * ini.truncated_normal_variance(min(c, 1e3)) ** 0.5, factor * c

    def update(self, bounds: str, cutoff: float, std: float, rescale: bool) -> str:
        """Draw the law at wanted deviation `std` and the ratio for all of them."""
        ratio, largest = self.ratio(std, cutoff, bounds, rescale)
        factor = ini.truncated_normal_variance(cutoff) ** -0.5 if rescale else 1.0
        c = min(largest / factor, 30)
        weights = factor * math.sqrt(2) * special.erfinv(self.uniform * special.erf(c / math.sqrt(2)) * (1 - 1e-15))
        self.bars.set_data(np.histogram(weights, self.edges)[0] / 20_000 / 0.1)
        self.curve.set_ydata([self.ratio(s, cutoff, bounds, rescale)[0] for s in self._STDS])
        self.here.set_data([std], [ratio])
        kept = special.erf(c / math.sqrt(2))
        return (
            f"Wanted standard deviation {std:.3g}, realised {ratio * std:.3g} ({ratio:.3f} of it); "
            f"{100 * kept:.3g} % of the normal law lies within the bounds."
        )


class AttentionTemperature:
    """Softmax over n keys at random queries and keys of d dimensions: weights, gradients, and the exact mean."""

    SCALES: ClassVar = {"none": 0.0, "1/√d": 0.5, "1/d": 1.0}
    ROWS, SHOWN = 256, 24
    _STDS = np.geomspace(0.025, 35, 40)

    def __init__(self, figure: Figure) -> None:
        left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1.15, 1.15))
        rng = np.random.default_rng(0)
        self.q, self.k = rng.standard_normal((self.ROWS, 1024)), rng.standard_normal((256, 1024))
        self.image = left.imshow(
            np.zeros((self.SHOWN, 8)), aspect="auto", vmin=0, vmax=1, extent=(0, 1, 0, 1), interpolation="nearest"
        )  # fmt: skip
        left.set(
            xticks=[], yticks=[], xlabel="all keys", ylabel=f"{self.SHOWN} queries", title="weights: dark 0, bright 1"
        )
        self.share = (np.arange(self.ROWS) + 0.5) / self.ROWS
        self.sorted = middle.plot([], [], **style.series(0))[0]
        middle.set(
            yscale="log", xlim=(0, 1), ylim=(_FLOOR, 5), xlabel="share of the queries, sorted",
            ylabel="$1 - \\Sigma p^2$", title="let through, by query",
        )  # fmt: skip
        self.mean = right.plot(self._STDS, self._STDS, label="exact mean", **style.series(0))[0]
        self.bound = right.plot(self._STDS, self._STDS, label="bound", **style.series(2))[0]
        self.critical = right.axvline(1, label="$\\sqrt{2 \\ln n}$", **style.series(3))
        self.here = right.plot([], [], label="this s", markersize=9, **style.series(5, marker=True, line=False))[0]
        right.set(
            xscale="log", xlim=(0.02, 45), ylim=(0, 1.05), xlabel="standard deviation s of the logits",
            title="let through, mean",
        )  # fmt: skip
        right.legend(loc="lower left")

    def weights(self, d: int, n: int, scale: float) -> Array:
        """Rows [256, n] of attention weights."""
        return ini.attention_weights(self.q[:, :d], self.k[:n, :d], float(d) ** -scale)

    def update(self, d: int, n: int, scale: float) -> str:
        """Redo the attention at head size d with n keys, logits divided by d**scale."""
        p = self.weights(d, n, scale)
        s = d ** (0.5 - scale)
        through = np.sort(1 - (p**2).sum(axis=1))
        self.image.set_data(p[: self.SHOWN])
        self.sorted.set_data(self.share, np.maximum(through, _FLOOR))
        self.mean.set_ydata(_mean_traces(n, tuple(self._STDS)))
        self.bound.set_ydata(np.minimum(1 - 1 / n, ini.expected_maximum(n) / self._STDS))
        self.critical.set_xdata([math.sqrt(2 * math.log(n))] * 2)
        _, entropy, trace = ini.expected_softmax_statistics(n, s)
        self.here.set_data([s], [trace])
        return (
            f"Logits of standard deviation {s:.2g}. Expected entropy {entropy:.2f} of at most {math.log(n):.2f}; "
            f"expected 1 - Σp² {trace:.3f}. Of the queries here {100 * np.mean(p.max(axis=1) > 0.99):.0f} % "
            f"give one key more than 0.99; the best tenth let through {np.quantile(through, 0.9):.2g} or more."
        )


@lru_cache(maxsize=16)
def _mean_traces(n: int, stds: tuple[float, ...]) -> Array:
    return np.array([ini.expected_softmax_statistics(n, s)[2] for s in stds])


class Tower:
    """Signal, identity path and gradient along a tower of residual branches: measured, and as theory has it."""

    D, TOKENS, BATCH = 64, 32, 2
    BRANCHES: ClassVar = {"matrices": "linear", "Transformer": "transformer"}

    def __init__(self, figure: Figure) -> None:
        panels = figure.subplots(1, 3)
        titles = ("signal: $E\\,x_l^2$", "identity: cosine of $x_l$, $x_0$", "gradient: $|g_l| / |g_L|$")
        limits = ((0.3, 1e8), (1e-4, 2), (1e-2, 1e4))
        self.theory, self.measured = [], []
        for axes, title, limit in zip(panels, titles, limits, strict=True):
            self.theory.append(axes.plot([], [], label="theory", **style.series(0))[0])
            self.measured.append(
                axes.plot([], [], label="one tower", markersize=4, **style.series(4, marker=True, line=False))[0]
            )
            axes.set(yscale="log", xlim=(-0.5, 24.5), ylim=limit, xlabel="branch l", title=title)
        legend_below(figure, *panels)

    def trace(self, placement: str, branch: str, depth: int, factor: float, zero_sum: bool) -> dict[str, Array]:
        """`trace_signal` of one tower, whose weights have the standard deviation factor/√d."""
        import torch  # here: neither the first picture nor the theory needs it

        from helpers import residual as res

        generator = torch.Generator().manual_seed(1)
        x, cotangent = torch.randn(2, self.BATCH, self.TOKENS, self.D, generator=generator)
        if zero_sum:
            cotangent = cotangent - cotangent.mean(dim=1, keepdim=True)
        std = factor * self.D**-0.5
        tower = res.ResidualTower(
            depth, self.D, placement, branch, init_std=std, n_heads=4, truncated=False, generator=generator
        )
        return res.trace_signal(tower, x, cotangent)

    def expected(self, placement: str, branch: str, depth: int, factor: float, zero_sum: bool) -> list[Array]:
        """Second moment, identity weight and gradient ratio by the formulas."""
        if branch == "linear":
            moments = residual_theory.residual_moments(depth, factor**2, placement)
            return [moments[key] for key in ("second_moment", "identity_weight", "gradient_ratio")]
        rho = -1 / (self.TOKENS - 1) if zero_sum else 0.0
        moments = residual_theory.signal_propagation(
            depth // 2, self.D, 4 * self.D, self.TOKENS, factor * self.D**-0.5, placement, gradient_correlation=rho
        )
        return [moments[key] for key in ("second_moment", "identity_weight", "gradient_norm")]

    def update(self, placement: str, branch: str, depth: int, factor: float, zero_sum: bool) -> str:
        """Build a tower, send a signal up and a gradient down."""
        trace = self.trace(placement, branch, depth, factor, zero_sum)
        expected = self.expected(placement, branch, depth, factor, zero_sum)
        measured = [trace[key] for key in ("second_moment", "identity_weight", "gradient_norm")]
        layers = np.arange(depth + 1)
        for line, dots, theory, seen in zip(self.theory, self.measured, expected, measured, strict=True):
            line.set_data(layers, theory)
            dots.set_data(layers, np.maximum(seen, 1e-6))
        top, identity, gradient = expected[0][-1], expected[1][-1], expected[2][0]
        return (
            f"After {depth} branches, theory: signal {top:.3g}, identity {identity:.2g}, gradient at the bottom "
            f"{gradient:.2g} of that at the top; this tower: {measured[0][-1]:.2g}, {measured[1][-1]:.2g}, "
            f"{measured[2][0]:.2g}."
        )


class Training:
    """Loss of a small masked language model with four ways to keep the attention logits in bounds, or not."""

    SETTINGS: ClassVar = {
        "Pre 0.001": ("pre", 1e-3), "Pre 0.003": ("pre", 3e-3), "Post 0.001": ("post", 1e-3),
    }  # fmt: skip
    ATTENTION: ClassVar = {
        "1/√d": "scaled", "none": "unscaled", "T5": "t5", "q and k": "split",
    }  # fmt: skip
    STEPS, BLOCK = 200, 10

    def __init__(self, figure: Figure) -> None:
        axes = figure.subplots()
        self.rows = {
            (row["settings"]["placement"], row["settings"]["lr"], row["settings"]["attention"]): np.array(row["loss"])
            for row in Stored("transformer_initialization_sweep").select(section="attention")
        }
        self.steps = np.arange(self.STEPS // self.BLOCK) * self.BLOCK + self.BLOCK / 2
        looks = zip(self.ATTENTION, (0, 4, 2, 5), strict=True)
        self.curves = {
            self.ATTENTION[label]: axes.plot([], [], label=label, **style.series(k))[0] for label, k in looks
        }
        thin = {"color": style.COLORS["grey"], "linestyle": "-", "linewidth": 1, "alpha": 0.6}
        self.seeds = [axes.plot([], [], **thin)[0] for _ in range(5)]
        self.seeds[0].set_label("its 5 seeds")
        self.new = axes.plot([], [], color=style.COLORS["black"], linestyle="-", marker="o", label="trained now")[0]
        axes.axhline(math.log(16), color=style.COLORS["grey"], linestyle=":", label="guessing, ln 16")
        axes.set(xlim=(0, 200), ylim=(0, 3.6), xlabel="step", ylabel="loss")
        legend_below(figure, axes, columns=4)

    def update(self, setting: tuple[str, float], attention: str) -> str:
        """Show the stored curves of one setting, and the seeds of one of them."""
        for name, curve in self.curves.items():
            curve.set_data(self.steps, self.rows[*setting, name].mean(axis=0))
        for line, losses in zip(self.seeds, self.rows[*setting, attention], strict=True):
            line.set_data(self.steps, losses)
        self.new.set_data([], [])
        ends = {label: self.rows[*setting, name][:, -2:].mean(axis=1) for label, name in self.ATTENTION.items()}
        words = ", ".join(f"{label} {end.mean():.2f} ± {end.std(ddof=1):.2f}" for label, end in ends.items())
        return f"Loss of the last 20 of {self.STEPS} steps, 5 seeds: {words}."

    def run(self, progress: Progress, setting: tuple[str, float], attention: str) -> str:
        """Train a sixth seed now."""
        import torch

        from helpers import residual as res

        self.update(setting, attention)
        placement, lr = setting
        std = (ini.truncated_normal_variance() / 64) ** 0.5
        model = res.MaskedLanguageModel(
            16, 8, 4, 64, 1, 256, placement, std, attention=attention, generator=torch.Generator().manual_seed(5)
        )
        losses = res.train_mlm(
            model, res.PermutationChain(16, 0.1, seed=0), self.STEPS, lr, seed=5,
            progress=lambda steps: progress(steps, f"{self.STEPS} steps of a sixth seed"),
        )["loss"]  # fmt: skip
        self.new.set_data(self.steps, losses.reshape(-1, self.BLOCK).mean(axis=1))
        return f"A sixth seed, trained now: loss of the last 20 steps {losses[-20:].mean():.2g}."
