"""Pictures of notebook 02: FlatNCE and the arithmetic of contrastive losses."""

from collections.abc import Callable, Iterable
from typing import ClassVar

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from helpers import contrastive as cl
from helpers.lab import Stored, data, style
from helpers.lab.figures import legend_below
from helpers.lab.progress import one_bar

Array = NDArray[np.float64]
Loss = Callable[[Tensor, Tensor], Tensor]

_LOOKS = {
    "cross entropy": style.series(4),
    "literal log(1 + ξ)": style.series(1),
    "careful InfoNCE": style.series(0),
    "FlatNCE": style.series(2),
}
_SPELLINGS: dict[str, Loss] = {
    "cross entropy": lambda s, t: cl.info_nce_cross_entropy(s, t, reduction="sum"),
    "literal log(1 + ξ)": lambda s, t: cl.info_nce_naive(s, t, reduction="sum"),
    "careful InfoNCE": lambda s, t: cl.info_nce(s, t, reduction="sum", upcast=False),
    "FlatNCE": lambda s, t: cl.flat_nce(s, t, reduction="sum", upcast=False),
}
_DTYPES = {"fp64": torch.float64, "fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class Pull:
    """The pull towards the positive, by four spellings, against the gap between the positive's score and the rest."""

    DTYPES: ClassVar = list(_DTYPES)
    _GAPS = np.linspace(0, 45, 226)
    _ROUNDING = 64  # units in the last place: smaller errors are drawn at this level, they differ between processors

    def __init__(self, figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        self.errors, self.sizes = (
            {
                name: axes.plot([], [], label=name, zorder=3 - 0.1 * k, **look)[0]
                for k, (name, look) in enumerate(_LOOKS.items())
            }
            for axes in (left, right)
        )
        right.axhline(1e-8, color=style.COLORS["black"], linestyle=":", linewidth=1, label="Adam's ε")
        grey = {"color": style.COLORS["grey"], "alpha": 0.18, "linewidth": 0}
        self.reach = [axes.axvspan(0, 1, label="within reach of cosines", **grey) for axes in (left, right)]
        mark = {"color": style.COLORS["purple"], "linestyle": (0, (1, 1)), "label": "pull is 0 from here at the latest"}
        self.threshold = [axes.axvline(0, **mark) for axes in (left, right)]
        left.set(
            yscale="log", ylim=(1e-16, 9), ylabel="largest relative error up to this gap",
            title="the pull: how wrong it is",
        )  # fmt: skip
        right.set(
            yscale="log", ylim=(1e-20, 9), ylabel="$-\\partial L / \\partial s_t$, as computed",
            title="the pull: how big it is",
        )  # fmt: skip
        for axes in (left, right):
            axes.set(xlim=(0, self._GAPS[-1]), xlabel="score gap $s_t - s_i$")
        legend_below(figure, left, right, columns=4)

    def update(self, batch: int, temperature: float, precision: str) -> str:
        """Measure all spellings over the gaps, for one positive and batch - 1 equal negatives."""
        exact, pulls = self._pulls(batch, precision)
        unit = torch.finfo(_DTYPES[precision]).eps / 2
        for name, pull in pulls.items():
            truth = 1.0 if name == "FlatNCE" else exact
            error = np.maximum.accumulate(np.abs(pull - truth) / truth)
            self.errors[name].set_data(self._GAPS, np.maximum(error, self._ROUNDING * unit))
            alive = pull > 0
            self.sizes[name].set_data(self._GAPS[alive], pull[alive])
        threshold = cl.zero_gradient_gap(_DTYPES[precision], batch)
        for span, line in zip(self.reach, self.threshold, strict=True):
            span.set_width(2 / temperature)
            line.set_xdata([threshold, threshold])
        return self._sentence(batch, temperature, precision, threshold)

    def _pulls(self, batch: int, precision: str) -> tuple[Array, dict[str, Array]]:
        gaps = torch.as_tensor(self._GAPS).to(_DTYPES[precision])
        exact = 1 / (1 + torch.exp(gaps.double()) / (batch - 1))  # ξ/(1+ξ), for the gaps as this dtype holds them
        return exact.numpy(), {name: _pull(loss, gaps, batch) for name, loss in _SPELLINGS.items()}

    def _sentence(self, batch: int, temperature: float, precision: str, threshold: float) -> str:
        gap = 1 / temperature
        xi = (batch - 1) * np.exp(-gap)
        reach = 2 / temperature
        blind = max(0.0, 1 - threshold / reach)
        return (
            f"Positive at cosine 1, {batch - 1} negative{'s' if batch > 2 else ''} at 0: gap {gap:.3g}, ξ = {xi:.2g}, "
            f"InfoNCE = {np.log1p(xi):.2g}. In {precision} cross entropy's pull is 0 beyond a gap of "
            f"{threshold:.1f}, if not before; cosines reach {reach:.3g}, so "
            + (f"{blind:.0%} of their range is without pull." if blind > 0 else "no score they can give is that far.")
        )


def _pull(loss: Loss, gaps: Tensor, batch: int) -> Array:
    """Size of the gradient with respect to the positive's score, for scores (gap, 0, …, 0)."""
    scores = torch.zeros(len(gaps), batch, dtype=gaps.dtype)
    scores[:, 0] = gaps
    scores.requires_grad_()
    target = torch.zeros(len(gaps), dtype=torch.int64)
    (gradient,) = torch.autograd.grad(loss(scores, target), scores)
    return gradient[:, 0].double().abs().numpy()


class ThreeArrows:
    """Anchor, positive and negative as free unit vectors: what cancellation, Adam's ε and the objective each do."""

    OPTIMISERS: ClassVar = {"Adam": ("Adam", 1e-8), "Adam, tiny ε": ("Adam", 1e-16), "SGD": ("SGD",)}
    _LOSSES = ("cross entropy", "careful InfoNCE", "FlatNCE")
    _STEPS = 200

    def __init__(self, figure: Figure) -> None:
        panels = figure.subplots(1, 2)
        self.paths = [
            {name: axes.plot([], [], label=name, **_LOOKS[name])[0] for name in self._LOSSES} for axes in panels
        ]
        for axes, start, goal, limits in zip(panels, (0.9, 0.0), (1.0, -1.0), ((0.8, 1.01), (-1.03, 0.1)), strict=True):
            axes.axhline(goal, color=style.COLORS["grey"], linewidth=1, linestyle=":", label="best possible")
            axes.plot([0], [start], color=style.COLORS["black"], marker="o", linestyle="none", label="start")
            axes.set(xlim=(-2, self._STEPS), ylim=limits, xlabel="step", ylabel="cosine with the anchor")
        panels[0].set_title("positive")
        panels[1].set_title("negative")
        legend_below(figure, *panels)

    def update(self, temperature: float, optimiser: str, precision: str) -> str:
        """Train the same three vectors under three losses and follow both cosines."""
        cosines = cl.train_three_vectors(temperature, *self.OPTIMISERS[optimiser], dtype=_DTYPES[precision]).numpy()
        for paths, values in zip(self.paths, np.moveaxis(cosines, 2, 0), strict=True):
            for k, name in enumerate(self._LOSSES):
                paths[name].set_data(np.arange(len(values)), values[:, k])
        ends = ", ".join(
            f"{name} {end[0]:.2f} / {_no_minus_zero(end[1]):.2f}"
            for name, end in zip(self._LOSSES, cosines[-1], strict=True)
        )
        return f"{optimiser}, {precision}, τ = {temperature:g}: cosine to the positive / negative at the end: {ends}."


def _no_minus_zero(number: float) -> float:
    return round(float(number), 2) + 0.0


class BatchSize:
    """Accuracy of encoders against the batch size, as stored, and how large ξ was while they were trained."""

    BUDGETS: ClassVar = ["same steps", "same samples"]
    METRICS: ClassVar = {"neighbours": "knn", "linear": "probe"}
    SEEDS, STEPS = 5, 300  # of a run on the spot
    _CURVES: ClassVar = {
        "cross entropy": {"loss": "cross-entropy", "dtype": "float32", "score_dtype": None},
        "careful InfoNCE": {"loss": "exact", "dtype": "float32", "score_dtype": None},
        "cross entropy, fp64": {"loss": "cross-entropy", "dtype": "float64", "score_dtype": None},
        "FlatNCE": {"loss": "FlatNCE", "dtype": "float32", "score_dtype": None},
    }
    _STYLES: ClassVar = {
        "cross entropy": style.series(4, marker=True),
        "careful InfoNCE": style.series(0, marker=True),
        "cross entropy, fp64": style.series(3, marker=True),
        "FlatNCE": style.series(2, marker=True),
    }

    def __init__(self, figure: Figure) -> None:
        self.sweep = Stored("contrastive_sweep")
        self.live: dict[int, dict[str, dict[str, Array]]] = {}
        left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
        hollow = {"markerfacecolor": "none", "markersize": 9, "linestyle": "none"}
        self.curves, self.points, self.bars = {}, {}, {}
        for name, look in self._STYLES.items():
            (self.curves[name],) = left.plot([], [], label=name, markersize=5, **look)
            self.bars[name] = left.vlines([], [], [], colors=look["color"], linewidth=1)
            (self.points[name],) = left.plot([], [], **(look | hollow))
        mark = {"color": style.COLORS["grey"], "linestyle": ":", "linewidth": 1}
        self.here = [axes.axvline(2, **mark) for axes in (left, right)]
        left.set(ylim=(0.3, 0.62), title="encoders judged by their features")
        self.quantiles = right.vlines([], [], [], colors=style.COLORS["sky"], linewidth=5, label="ξ, 5 % to 95 %")
        (self.medians,) = right.plot([], [], color=style.COLORS["black"], marker="_", linestyle="none", markersize=9)
        right.axhline(2.0**-24, label="lost in fp32", **(mark | {"color": style.COLORS["vermilion"], "linestyle": "-"}))
        right.set(yscale="log", ylim=(1e-8, 1e4), ylabel="ξ while training", title="how small does ξ get?")
        for axes in (left, right):
            axes.set(xscale="log", xlim=(1.7, 150), xlabel="batch size N")
            axes.set_xticks([2, 4, 8, 16, 32, 64, 128], labels=["2", "4", "8", "16", "32", "64", "128"])
            axes.minorticks_off()
        self.accuracy_axes = left
        legend_below(figure, left, right, columns=3)

    def update(self, batch: int, budget: str, metric: str) -> str:
        """Show the stored rows of a budget and a metric, and say what they hold at one batch size."""
        self.accuracy_axes.set_ylabel(f"accuracy, {metric}")
        said = []
        for name, settings in self._CURVES.items():
            rows = self.sweep.select(section=budget, **settings)
            sizes = [row["settings"]["batch_size"] for row in rows]
            means = [np.mean(row[self.METRICS[metric]]) for row in rows]
            deviations = [np.std(row[self.METRICS[metric]], ddof=1) for row in rows]
            self.curves[name].set_data(sizes, means)
            self.bars[name].set_segments(
                [((n, m - d), (n, m + d)) for n, m, d in zip(sizes, means, deviations, strict=True)]
            )
            if batch in sizes:
                k = sizes.index(batch)
                said.append(f"{name} {means[k]:.3f} ± {deviations[k]:.3f}")
        self._show_live(metric if budget == "same steps" else None)
        return self._sentence(batch, budget, said)

    def _sentence(self, batch: int, budget: str, said: list[str]) -> str:
        rows = self.sweep.select(section=budget, **self._CURVES["cross entropy"])
        sizes = [row["settings"]["batch_size"] for row in rows]
        ranges = 10.0 ** np.array([row["log10_xi"] for row in rows])
        self.quantiles.set_segments([((n, r[1]), (n, r[5])) for n, r in zip(sizes, ranges, strict=True)])
        self.medians.set_data(sizes, ranges[:, 3])
        for line in self.here:
            line.set_xdata([batch, batch])
        if batch not in sizes:
            return f"Nothing stored for N = {batch} with the {budget}; the largest there is N = {sizes[-1]}."
        k = sizes.index(batch)
        settings = rows[k]["settings"]
        return (
            f"N = {batch}, {settings['steps']} steps, {settings['seeds']} seeds: " + ", ".join(said) + ". "
            f"Median ξ {ranges[k, 3]:.2g}; share below 2⁻²⁴: {rows[k]['below_2^-24']:.2%}."
        )

    def run(self, progress: Callable[..., Iterable], batch: int, budget: str, metric: str) -> str:
        """Train a few encoders now, with fewer steps than the stored ones had, and add them to the picture."""
        images, labels = data.load("digits")
        split = cl.digits_split(images, labels)
        names = ("cross entropy", "careful InfoNCE", "FlatNCE")
        found = {}
        with one_bar(
            progress, len(names) * self.STEPS, f"{self.SEEDS} seeds of 3 losses at batch size {batch}"
        ) as counted:
            for name in names:
                encoders = cl.train_encoders(
                    split[0], self._CURVES[name]["loss"], batch, self.STEPS, range(self.SEEDS),
                    progress=counted,
                ).encoders  # fmt: skip
                found[name] = cl.encoder_accuracies(encoders, *split)
        self.live[batch] = found
        self.update(batch, budget, metric)
        self._show_live(metric)
        key = self.METRICS[metric]
        words = ", ".join(f"{name} {f[key].mean():.3f} ± {f[key].std(ddof=1):.3f}" for name, f in found.items())
        return f"Trained now, N = {batch}, {self.STEPS} steps, {self.SEEDS} seeds (hollow marks): {words}."

    def _show_live(self, metric: str | None) -> None:
        for name, points in self.points.items():
            shown = {
                n: found[name][self.METRICS[metric]].mean()
                for n, found in self.live.items()
                if metric is not None and name in found
            }
            points.set_data(list(shown), list(shown.values()))
