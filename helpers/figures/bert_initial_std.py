"""Pictures of notebook 07: why BERT starts at 0.02."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers import optimizer_steps, residual_theory
from helpers.initialization import truncated_normal_variance
from helpers.inputs import Array
from helpers.lab import Stored, style
from helpers.lab.figures import legend_below
from helpers.lab.progress import one_bar

BERT_STD = 0.02 * np.sqrt(truncated_normal_variance())  # what "0.02" is after truncation
_HOLLOW = {"linestyle": "none", "marker": "o", "markerfacecolor": "none", "markersize": 6}
_GREY = {"color": style.COLORS["grey"], "linewidth": 1.2}
_BLACK = {"color": style.COLORS["black"], "linewidth": 1.2}


def _short(value: float, floor: float = 1e-9) -> str:
    """Two significant digits, or that the value is next to nothing."""
    return f"{value:.2g}" if value >= floor else f"below {floor:.1g}"


def _no_minor_ticks(*panels: Axes) -> None:
    """Logarithmic axes have so many that they double the time of a redraw."""
    for axes in panels:
        axes.minorticks_off()


class InitialStd:
    """Branch variances against the initial standard deviation, and what a tower makes of them, from theory.

    A run measures real towers of width `WIDTH` whose standard deviation is scaled so that their theory is the same.
    """

    WIDTH, TOWERS = 128, 3
    _REACH = 1.1  # the theory rests on nearly equal scores: up to about 1/√d
    _CURVES: ClassVar = {
        "identity_weight": ("identity weight", style.series(0)),
        "token_correlation": ("token cosine", style.series(1)),
        "gradient": ("gradient", style.series(2)),
        "apart": ("gradient, zero-sum", style.series(4)),
    }

    def __init__(self, figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        self.branches = [
            left.plot([], [], label=label, **style.series(k))[0] for k, label in ((5, "feed-forward"), (3, "attention"))
        ]
        (self.guide,) = left.plot([], [], label="fourth power", linestyle=":", **_GREY)
        self.here = left.axvline(1, linestyle="-", label="chosen std", **_BLACK)
        self.usual = left.axvline(1, linestyle="--", label="1/√d", **_GREY)
        left.set(
            xscale="log", yscale="log", xlim=(0.004, 0.1), ylim=(1e-6, 1e2), title="variance of a branch's output",
            xlabel="real standard deviation of the weights", ylabel="$E F(x)^2$",
        )  # fmt: skip
        self.curves, self.points = {}, {}
        for name, (label, look) in self._CURVES.items():
            (self.curves[name],) = right.plot([], [], label=label, **look)
            (self.points[name],) = right.plot([], [], color=look["color"], **_HOLLOW)
        right.set(
            yscale="log", xlim=(-0.02, 1.02), ylim=(1e-4, 1e2), title="along the tower",
            xlabel="height $l/L$ (input 0, output 1)", ylabel="relative to 1",
        )  # fmt: skip
        _no_minor_ticks(left, right)
        legend_below(figure, left, right, columns=5)

    def update(self, std: float, layers: int, width: int, tokens: int, placement: str) -> str:
        """Draw both panels for hidden width 4 `width`; measurements of another position disappear."""
        for points in self.points.values():
            points.set_data([], [])
        sizes = width, 4 * width, tokens
        grid = np.geomspace(0.004, self._REACH * width**-0.5, 61)
        both = np.array([residual_theory.branch_variance(s, *sizes) for s in grid])
        for line, values in zip(self.branches, both.T[::-1], strict=True):
            line.set_data(grid, values)
        self.guide.set_data(grid, width**2 * grid**4)
        self.here.set_xdata([std, std])
        self.usual.set_xdata([width**-0.5, width**-0.5])
        found = self.theory(std, layers, width, tokens, placement)
        for name, line in self.curves.items():
            seen = found[name] > 1e-6  # far below the axis
            line.set_data(np.linspace(0, 1, 2 * layers + 1)[seen], found[name][seen])
        attention, feed_forward = residual_theory.branch_variance(std, *sizes)
        beyond = "Too large for the theory: scores differ." if std * width**0.5 > self._REACH else ""
        return (
            f"std {std:.3g} = {std * width**0.5:.2f}/√d. Branch variance: feed-forward {_short(feed_forward)}, "
            f"attention {_short(attention)}. After {2 * layers} branches, {placement}-norm: {self._ends(found)}. "
            f"{beyond}"
        ).rstrip()

    @staticmethod
    def theory(std: float, layers: int, width: int, tokens: int, placement: str) -> dict[str, Array]:
        """Curves by name, each [2 layers + 1]."""
        arguments = layers, width, 4 * width, tokens, std, placement
        found = residual_theory.signal_propagation(*arguments)
        apart = residual_theory.signal_propagation(*arguments, gradient_correlation=-1 / (tokens - 1))
        return found | {"gradient": found["gradient_norm"], "apart": apart["gradient_norm"]}

    @classmethod
    def measure(cls, std: float, layers: int, width: int, tokens: int, placement: str, seed: int) -> dict[str, Array]:
        """The same curves of one random tower: width `WIDTH`, standard deviation std √(width / WIDTH)."""
        import torch  # here: the theory does not need it

        from helpers import residual as rs

        generator = torch.Generator().manual_seed(seed)
        tower = rs.ResidualTower(
            2 * layers, cls.WIDTH, placement, init_std=std * (width / cls.WIDTH) ** 0.5, n_heads=4, generator=generator
        )
        x, cotangent = torch.randn(2, 2, tokens, cls.WIDTH, generator=generator)
        found = rs.trace_signal(tower, x, cotangent)
        apart = rs.trace_signal(tower, x, cotangent - cotangent.mean(dim=1, keepdim=True))
        return found | {"gradient": found["gradient_norm"], "apart": apart["gradient_norm"]}

    @staticmethod
    def _ends(found: dict[str, Array], noise: float = 1e-9) -> str:
        return (
            f"identity weight {_short(found['identity_weight'][-1], noise)}, token cosine "
            f"{_short(found['token_correlation'][-1])}, gradient bottom/top {_short(found['gradient'][0])}, zero-sum "
            f"{_short(found['apart'][0])}"
        )

    def run(self, progress: Callable[..., Iterable], **values: Any) -> str:
        """Measure `TOWERS` real towers at this position and draw their means as circles."""
        self.update(**values)
        rounds = progress(range(self.TOWERS), f"{self.TOWERS} towers of width {self.WIDTH}")
        measured = [self.measure(**values, seed=seed) for seed in rounds]
        mean = {name: np.mean([one[name] for one in measured], axis=0) for name in self.curves}
        noise = 3 / np.sqrt(2 * self.TOWERS * values["tokens"] * self.WIDTH)  # of a cosine between independent states
        for name, points in self.points.items():
            seen = mean[name] > (noise if name == "identity_weight" else 1e-6)
            points.set_data(np.linspace(0, 1, len(seen))[seen], mean[name][seen])
        mean["identity_weight"] = np.maximum(mean["identity_weight"], 0)
        return f"{self.TOWERS} real towers of width {self.WIDTH} (circles): {self._ends(mean, noise)}."


class AdamSteps:
    """How far Adam and SGD move one weight: their first step, and their distance after many."""

    _GRADIENTS = np.geomspace(1e-14, 1e2, 161)
    _STEPS = np.geomspace(1, 1e6, 121)

    def __init__(self, figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        looks = {"Adam": style.series(0), "SGD": style.series(4)}
        self.first = {name: left.plot([], [], label=name, **look)[0] for name, look in looks.items()}
        self.far = {name: right.plot([], [], label=name, **look)[0] for name, look in looks.items()}
        self.here = left.axvline(1, linestyle="-", label="chosen gradient", **_BLACK)
        (self.drift,) = right.plot([], [], linestyle=":", label="Adam's drift alone", **_GREY)
        (self.diffusion,) = right.plot([], [], linestyle="--", label="Adam's random walk alone", **_GREY)
        left.set(
            xscale="log", yscale="log", xlim=(1e-14, 1e2), ylim=(1e-9, 1e2), title="first step",
            xlabel="gradient $|g|$", ylabel="step / learning rate",
        )  # fmt: skip
        right.set(
            xscale="log", yscale="log", xlim=(1, 1e6), ylim=(1e-9, 1e7), title="distance after $T$ steps",
            xlabel="$T$", ylabel="distance / learning rate",
        )  # fmt: skip
        _no_minor_ticks(left, right)
        legend_below(figure, left, right)

    def update(self, gradient: float, snr: float, eps: float) -> str:
        """Draw both panels; Adam sees the gradient as |g|/(|g| + ε), SGD as it is."""
        self.first["Adam"].set_data(self._GRADIENTS, -optimizer_steps.adam_first_step(self._GRADIENTS, 1.0, eps))
        self.first["SGD"].set_data(self._GRADIENTS, self._GRADIENTS)
        self.here.set_xdata([gradient, gradient])
        step = -float(optimizer_steps.adam_first_step(gradient, 1.0, eps))
        far = float(optimizer_steps.adam_displacement(1000, snr))
        path = optimizer_steps.adam_displacement(self._STEPS, snr)
        for name, factor in (("Adam", step), ("SGD", gradient)):
            self.far[name].set_data(self._STEPS, factor * path)
        size = np.sqrt(1 + snr**2)
        self.drift.set_data(self._STEPS, step * snr / size * self._STEPS)
        self.diffusion.set_data(self._STEPS, step / size * np.sqrt(self._STEPS))
        rms, _ = optimizer_steps.adam_step_ratio(snr)
        crossing = 1 / snr**2
        wins = f"drift wins after {crossing:.2g} steps" if crossing > 1 else "drift wins from the first step on"
        return (
            f"Gradient {gradient:.2g}: first step {step:.2g} lr with Adam, {gradient:.2g} lr with SGD. Signal-to-noise "
            f"{snr:.2g}: Adam's usual step is {rms * step:.2g} lr; {wins}. After 1000 steps Adam is "
            f"{step * far:.2g} lr away, SGD {gradient * far:.2g} lr."
        )


class Vanishing:
    """Plain networks, layer by layer: the gradients at the start, the first steps they cause; a run trains them."""

    STEPS = 300
    _FLOOR = 1e-13
    _LOOKS: ClassVar = {"SGD": style.series(4, marker=True), "Adam": style.series(0, marker=True)}

    def __init__(self, figure: Figure) -> None:
        from helpers.plain_network import SEEDS, PlainNetworks  # here: it needs torch, and the first picture does not

        self.networks, self.seeds = PlainNetworks, SEEDS
        left, middle, right = figure.subplots(1, 3)
        self.gradients = {
            name: left.plot([], [], label=label, markersize=4, **style.series(k, marker=True))[0]
            for name, label, k in (("state", "gradient of states", 2), ("weight", "gradient of weights", 5))
        }
        self.moves = {
            name: middle.plot([], [], label=name, markersize=4, **look)[0] for name, look in self._LOOKS.items()
        }
        self.losses = {
            name: right.plot([], [], color=look["color"], linestyle=look["linestyle"])[0]
            for name, look in self._LOOKS.items()
        }
        right.axhline(np.log(2), linestyle=":", label="coin toss", **_GREY)
        self.hint = right.text(
            0.5, 0.45, "press the button\nto train", ha="center", transform=right.transAxes, color=style.COLORS["grey"]
        )
        for axes, title in ((left, "gradient at the start"), (middle, "first step / weight")):
            axes.set(yscale="log", xlim=(-0.5, 16.5), ylim=(self._FLOOR, 1e5), xlabel="layer", title=title)
        _no_minor_ticks(left, middle)
        right.set(xlim=(0, self.STEPS), ylim=(-0.03, 1), xlabel="step", title=f"loss, mean of {self.seeds}")
        legend_below(figure, left, middle, right)

    def update(self, depth: int, activation: str, gain: float, skip: bool) -> str:
        """Measure the gradients of fresh networks and the steps they cause; loss curves of a run disappear."""
        for line in self.losses.values():
            line.set_data([], [])
        self.hint.set_visible(True)
        found = self.networks(depth, activation, gain, skip=skip).gradients()
        for name, line in self.gradients.items():
            first = 0 if name == "state" else 1
            line.set_data(np.arange(first, depth + 1), np.maximum(found[name], self._FLOOR))
        for name, line in self.moves.items():
            line.set_data(np.arange(1, depth + 1), np.maximum(found[name.lower()], self._FLOOR))
        return (
            f"{depth} {activation} layers, gain {gain:.2g}{', with skips' if skip else ''}. Gradient, first layer over "
            f"last: states {found['state'][0] / found['state'][-1]:.2g}, weights "
            f"{found['weight'][0] / found['weight'][-1]:.2g}. First step of layer 1: SGD {found['sgd'][0]:.1g}, Adam "
            f"{found['adam'][0]:.1g} of the weight."
        )

    def run(self, progress: Callable[..., Iterable], **values: Any) -> str:
        """Train both from the same start at this position."""
        self.update(**values)
        ends = []
        with one_bar(progress, 2 * self.STEPS, f"{self.STEPS} steps of SGD, then of Adam") as counted:
            for name, line in self.losses.items():
                losses = self.networks(**values).train(name.lower(), self.STEPS, counted)
                shown = np.where(np.isfinite(losses), losses, 1e3)  # beyond the axis
                line.set_data(np.arange(self.STEPS + 1), shown.mean(axis=1))
                good = np.isfinite(losses[-1]).all()
                ends.append(
                    f"{name} {losses[-1].mean():.2f} ± {losses[-1].std(ddof=1):.2f}" if good else f"{name} diverged"
                )
        self.hint.set_visible(False)
        return (
            f"Loss after {self.STEPS} steps, mean ± sd of {self.seeds} networks: {', '.join(ends)}; "
            "a coin toss costs 0.69."
        )


def gains(table: Stored) -> dict[str, dict[str, Any]]:
    """Mean gain of every Norm, of the small models after training (mean of the seeds) and of the pretrained one.

    By model: "last", that of the tower's last Norm, "head", that of the extra Norm or None, and "inside", the list
    of all others from the input up.
    """
    found = {}
    for name, head in (("no head", False), ("with head", True)):
        row = table.row(section="head", head=head)
        gain = dict(zip(row["names"], np.array(row["gains"])[:, -1].mean(axis=0).tolist(), strict=True))
        tower = [value for key, value in gain.items() if key.startswith("tower")]
        found[name] = (gain["embedding_norm"], tower, gain.get("head_norm"))
    p = table.common["pretrained"]
    tower = [gain for pair in zip(p["attention"], p["feed-forward"], strict=True) for gain in pair]
    found["pretrained"] = (p["embedding"], tower, p["head"])
    return {
        name: {"inside": [embedding, *tower[:-1]], "last": tower[-1], "head": head}
        for name, (embedding, tower, head) in found.items()
    }


class WarmUp:
    """Stored runs of eight-layer towers: loss and token cosine while they train."""

    RATES: ClassVar = {"0.002": ("warm-up", 200), "0.0005": ("small steps", 400)}
    SEEDS: ClassVar = {"mean": -1, "0": 0, "1": 1, "2": 2}
    _RUNS: ClassVar = {
        "post, no warm-up": (("post", 0), style.series(4)),
        "post, warm-up": (("post", 100), style.series(0)),
        "pre, no warm-up": (("pre", 0), style.series(1)),
        "pre, warm-up": (("pre", 100), style.series(2)),
    }

    def __init__(self, figure: Figure) -> None:
        self.sweep = Stored("bert_initial_std_sweep")
        self.group = self.sweep.common["group"]
        left, right = self.axes = figure.subplots(1, 2)
        self.losses, self.cosines, self.marks = {}, {}, {}
        for name, (_, look) in self._RUNS.items():
            (self.losses[name],) = left.plot([], [], label=name, **look)
            (self.cosines[name],) = right.plot([], [], **look)
            (self.marks[name],) = left.plot([], [], color=look["color"], **_HOLLOW)
        self.here = [axes.axvline(0, linestyle=":", **_GREY) for axes in self.axes]
        left.set(ylim=(0.4, 3), xlabel="step", ylabel="loss in nats", title="masked tokens")
        left.axhline(np.log(16), linestyle=":", label="ln 16", **_BLACK)
        right.set(ylim=(-0.1, 1.05), xlabel="step", ylabel="cosine between tokens", title="output of the last layer")
        legend_below(figure, left, right)

    def update(self, rate: str, seed: int, done: int) -> str:
        """Show stored runs of a learning rate, of one seed or (-1) the mean, marked when `done` percent are trained."""
        section, steps = self.RATES[rate]
        at = min(int(done / 100 * steps), steps - 1) // self.group
        said = []
        for name, ((placement, warmup), _) in self._RUNS.items():
            row = self.sweep.row(section=section, placement=placement, warmup=warmup)
            loss, cosine = (np.array(row[key]) for key in ("loss", "cosine"))
            loss, cosine = (c.mean(axis=0) if seed < 0 else c[seed] for c in (loss, cosine))
            x = (np.arange(loss.size) + 0.5) * self.group
            self.losses[name].set_data(x, loss)
            self.cosines[name].set_data(np.arange(cosine.size) * self.group, cosine)
            self.marks[name].set_data([x[at]], [loss[at]])
            said.append(f"{name} {loss[at]:.2f} ({cosine[at]:.2f})")
        for axes, line in zip(self.axes, self.here, strict=True):
            if axes.get_xlim() != (0, steps):  # a new limit costs a new background
                axes.set_xlim(0, steps)
            line.set_xdata([x[at], x[at]])
        who = "mean of the seeds" if seed < 0 else f"seed {seed}"
        return f"Learning rate {rate}, step {at * self.group}, {who}. Loss (token cosine): {', '.join(said)}."


class Gains:
    """Mean gain of every Norm after training: without the extra Dense + Norm, with it, and in a pretrained model."""

    _LOOKS: ClassVar = {
        "inside": (0, "", "other Norms"),
        "last": (1, "//", "last of the tower"),
        "head": (4, "xx", "head"),
    }

    def __init__(self, figure: Figure) -> None:
        self.gains = gains(Stored("bert_initial_std_sweep"))
        self.panels = figure.subplots(1, 3, sharey=True)

    def update(self) -> str:
        """Draw one bar per Norm and say the last ones."""
        said = []
        for axes, (name, gain) in zip(self.panels, self.gains.items(), strict=True):
            groups = {"inside": gain["inside"], "last": [gain["last"]], "head": [gain["head"]] if gain["head"] else []}
            start = 0
            for kind, values in groups.items():
                k, hatch, label = self._LOOKS[kind]
                x = np.arange(start, start + len(values))
                grown, color = np.array(values) - 1, style.series(k)["color"]
                axes.bar(x, grown, bottom=1, color=color, hatch=hatch, label=label, edgecolor=style.COLORS["black"])
                start += len(values)
            axes.axhline(1, linestyle=":", **_BLACK)
            axes.set(title=name, ylim=(0.8, 1.8), xlabel="Norm, from the input up", xticks=[])
            head = f", of the head {gain['head']:.2f}" if gain["head"] else ""
            others = f"others {min(gain['inside']):.2f} to {max(gain['inside']):.2f}"
            said.append(f"{name}: last Norm of the tower {gain['last']:.2f}{head}, {others}")
        self.panels[0].set_ylabel("mean gain γ")
        legend_below(self.panels[0].figure, *self.panels)
        return f"Mean gain. {'; '.join(said)}."
