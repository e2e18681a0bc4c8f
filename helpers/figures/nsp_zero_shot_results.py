"""Pictures of notebook 05 that show stored results: prompts, pre-training steps, and the summary at the top."""

from functools import cache
from typing import ClassVar

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from helpers import nsp
from helpers.lab import Stored, style
from helpers.lab.figures import legend_below

Array = NDArray[np.floating]

_EVALUATION, _PRETRAINING = "nsp_evaluation", "nsp_pretraining"  # of examples/, by their names
_OBJECTIVES = {"nsp": "NSP", "same_section": "same-topic negatives", "sop": "SOP"}
_LOOKS = {name: style.series(k, marker=True) for name, k in (("nsp", 0), ("same_section", 2), ("sop", 4))}


@cache
def _table(name: str) -> Stored:
    return Stored(name)


class Templates:
    """Scores of many texts for eight labels, and what the choice of the prompt is worth."""

    TEMPLATES = nsp.TEMPLATES
    CALIBRATIONS: ClassVar = {"none": "none", "unlabelled mean": "mean", "empty text": "empty"}

    def __init__(self, figure: Figure) -> None:
        self.table = _table(_EVALUATION)
        self.labels = self.table.common["labels"][:8]
        figure.set_figheight(5.0)
        grid = figure.add_gridspec(2, 2, height_ratios=(1, 2.6), width_ratios=(1.1, 1))
        shares, scores, right = (figure.add_subplot(cell) for cell in (grid[0, 0], grid[1, 0], grid[:, 1]))
        self.bars = shares.bar(range(8), np.zeros(8), color=style.COLORS["blue"], width=0.7)
        shares.axhline(1 / 8, color=style.COLORS["black"], linestyle=":", label="true share")
        shares.set(ylim=(0, 0.8), xlim=(-0.5, 7.5), xticks=[], ylabel="share given", title="how often each label wins")
        shares.legend(loc="upper right", fontsize=8)
        rows = len(self._stored(self.TEMPLATES[0], "prefix")["scores"])
        self.each = rows // 8
        self.image = scores.imshow(
            np.zeros((rows, 8)), cmap=style.SIGNED, vmin=-7, vmax=7, aspect="auto", interpolation="nearest"
        )
        for k in range(1, 8):
            scores.axhline(k * self.each - 0.5, color=style.COLORS["black"], linewidth=0.8)
        scores.set_xticks(range(8), labels=self.labels, rotation=40, ha="right", fontsize=8)
        scores.set_yticks([k * self.each + self.each / 2 - 0.5 for k in range(8)], labels=self.labels, fontsize=8)
        scores.set(ylabel=f"{self.each} texts of each section")
        scores.tick_params(length=0)
        scores.grid(visible=False)
        figure.colorbar(self.image, ax=scores, extend="both").ax.set_xlabel("s - β", labelpad=14)
        at = np.arange(len(self.TEMPLATES))
        self.intervals = right.hlines(at, 0, 0, colors=style.COLORS["sky"], linewidth=5, label="95 % interval")
        (self.dots,) = right.plot(np.zeros(len(at)), at, label="accuracy", **style.series(0, marker=True, line=False))
        ring = {"markersize": 13, "markerfacecolor": "none"} | style.series(4, marker=True, line=False)
        (self.here,) = right.plot([0], [0], label="this prompt", **ring)
        right.axvline(1 / 8, color=style.COLORS["black"], linestyle=":", label="chance")
        right.set_yticks(at, labels=[f'"{template}"' for template in self.TEMPLATES], fontsize=8)
        right.yaxis.tick_right()
        right.set(xlim=(0, 1), ylim=(len(at) - 0.5, -0.5), xlabel="accuracy, eight labels", title="all prompts")
        legend_below(figure, right)

    def _stored(self, template: str, order: str) -> dict:
        return self.table.row(section="scores", template=template, order=order)

    def update(self, template: str, order: str, calibration: str) -> str:
        """Show the stored scores of one prompt, and the accuracies of all in this order with this calibration."""
        stored = self._stored(template, order)
        scores = np.array(stored["scores"]) - (0.0 if calibration == "none" else np.array(stored[calibration]))
        self.image.set_data(scores)
        given = np.bincount(scores.argmax(axis=1), minlength=8) / len(scores)
        for bar, share in zip(self.bars, given, strict=True):
            bar.set_height(share)
        found = [self._accuracy(one, order, calibration) for one in self.TEMPLATES]
        place = self.TEMPLATES.index(template)
        self.dots.set_xdata([row["accuracy"] for row in found])
        self.intervals.set_segments([[(row["ci"][0], k), (row["ci"][1], k)] for k, row in enumerate(found)])
        self.here.set_data([found[place]["accuracy"]], [place])
        low, high = found[place]["ci"]
        most = int(np.argmax(given))
        return (
            f'"{template}": accuracy {found[place]["accuracy"]:.2f} on {found[place]["n"]} texts '
            f"(95 % interval {low:.2f} to {high:.2f}; all prompts: {min(row['accuracy'] for row in found):.2f} to "
            f"{max(row['accuracy'] for row in found):.2f}). "
            f"Of the texts shown, {given[most]:.0%} are called {self.labels[most]}; true share 12.5 %."
        )

    def _accuracy(self, template: str, order: str, calibration: str) -> dict:
        return self.table.row(
            section="accuracy", labels="D8", method="NSP", template=template, order=order, calibration=calibration
        )


class PretrainingSteps:
    """Own task and zero-shot accuracy along pre-training: of the shipped model, and of short runs of three tasks."""

    CALIBRATIONS: ClassVar = {"none": "none", "unlabelled mean": "mean"}

    @staticmethod
    def steps() -> list[int]:
        """Steps of the main run at which there is a snapshot; the start is left out."""
        return [row["settings"]["step"] for row in _snapshots("nsp", 0, main=True) if row["settings"]["step"]]

    def __init__(self, figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        trained = _table(_PRETRAINING)
        self.own = {"main": [_curve(trained.row(section="main"))]}
        self.zero_shot = {"main": [_snapshots("nsp", 0, main=True)]}
        for objective in _OBJECTIVES:
            rows = trained.select(section="ablation", objective=objective)
            self.own[objective] = [_curve(row) for row in rows]
            self.zero_shot[objective] = [_snapshots(objective, row["settings"]["seed"]) for row in rows]
        looks = {"main": {"color": style.COLORS["black"], "marker": "."}} | _LOOKS
        names = {"main": "shipped model (NSP)"} | {name: f"{word}, short runs" for name, word in _OBJECTIVES.items()}
        self.lines = {}
        for name, look in looks.items():
            look = look | {"markersize": 5, "label": names[name]}
            left.plot(*_mean(self.own[name]), **look)
            (self.lines[name],) = right.plot([], [], **look)
        dotted = {"color": style.COLORS["grey"], "linestyle": ":", "label": "snapshot"}
        self.here = [axes.axvline(100, **dotted) for axes in (left, right)]
        right.axhline(1 / 8, color=style.COLORS["grey"], linewidth=1, label="chance, on the right")
        left.set(ylabel="pairs judged right", ylim=(0.4, 1), title="each on its own task")
        right.set(ylabel="accuracy, eight labels", ylim=(0, 0.85), title="as a zero-shot classifier")
        for axes in (left, right):
            axes.set(xscale="log", xlim=(90, 1.2 * self.steps()[-1]), xlabel="steps of pre-training")
        legend_below(figure, right, columns=3)

    def update(self, snapshot: int, calibration: str) -> str:
        """Move the mark to a snapshot of the main run, and show the accuracies with a calibration."""
        step = self.steps()[snapshot]
        for name, runs in self.zero_shot.items():
            self.lines[name].set_data(*_mean([_accuracies(run, calibration) for run in runs]))
        for line in self.here:
            line.set_xdata([step, step])
        said = []
        for name, line in self.lines.items():
            both = _mean(self.own[name]), line.get_data()
            own, zero_shot = (dict(zip(*points, strict=True)).get(step) for points in both)
            if zero_shot is not None:
                word = "shipped model" if name == "main" else f"{_OBJECTIVES[name]} (3 seeds)"
                said.append(f"{word} {own:.2f} / {zero_shot:.2f}")
        return f"After {step:,} steps, pairs of the own task judged right / texts labelled right: {', '.join(said)}."


def _curve(row: dict) -> tuple[list, list]:
    points = [point for point in row["curve"] if point["step"]]
    return [point["step"] for point in points], [point["pair_accuracy"] for point in points]


def _snapshots(objective: str, seed: int, main: bool = False) -> list[dict]:
    rows = _table(_EVALUATION).select(section="steps", objective=objective, seed=seed)
    return [row for row in rows if (row["settings"]["run"] != "ablation") == main]


def _accuracies(run: list[dict], calibration: str) -> tuple[list, list]:
    rows = [row for row in run if row["settings"]["step"]]
    return [row["settings"]["step"] for row in rows], [row["D8"][calibration] for row in rows]


def _mean(curves: list[tuple[list, list]]) -> tuple[list, Array]:
    """Steps, and the mean over runs."""
    return curves[0][0], np.mean([values for _, values in curves], axis=0)


class Summary:
    """Zero-shot accuracy by method with intervals; and what each pre-training task is worth, run by run."""

    _BARS: ClassVar = {
        "TF-IDF": {"method": "TF-IDF"},
        "LSA": {"method": "LSA"},
        "masked word (PET)": {"method": "PET", "template": "a {} program", "order": "prefix", "calibration": "none"},
        "PET calibrated": {"method": "PET", "template": "a {} program", "order": "prefix", "calibration": "mean"},
        "PET calibrated (bare label)": {"method": "PET", "template": "{}", "order": "prefix", "calibration": "mean"},
        "next sentence (NSP)": {"method": "NSP", "template": "{}", "order": "prefix", "calibration": "none"},
        "NSP calibrated": {"method": "NSP", "template": "{}", "order": "prefix", "calibration": "mean"},
        "16 examples a label": {"method": "few-shot", "shots": 16},
    }

    def __init__(self, figure: Figure) -> None:
        self.table, trained = _table(_EVALUATION), _table(_PRETRAINING)
        left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
        at = np.arange(len(self._BARS))
        colours = [style.COLORS["blue" if name.startswith(("next", "NSP")) else "sky"] for name in self._BARS]
        self.bars = left.barh(at, np.zeros(len(at)), color=colours, height=0.65)
        self.intervals = left.hlines(at, 0, 0, colors=style.COLORS["black"], linewidth=1.5, label="95 % interval")
        self.chance = left.axvline(0, color=style.COLORS["black"], linestyle=":", label="chance")
        left.set_yticks(at, labels=list(self._BARS), fontsize=9)
        left.set(xlim=(0, 1), ylim=(len(at) - 0.5, -0.5), xlabel="accuracy", title="shipped model and baselines")
        self.runs = {name: [] for name in _OBJECTIVES}
        self.dots = {}
        for name, label in _OBJECTIVES.items():
            self.runs[name] = [
                (_curve(row)[1][-1], _snapshots(name, row["settings"]["seed"])[-1])
                for row in trained.select(section="ablation", objective=name)
            ]
            (self.dots[name],) = right.plot([], [], label=label, markersize=8, **(_LOOKS[name] | {"linestyle": "none"}))
        self.chance_too = right.axhline(0, color=style.COLORS["black"], linestyle=":")
        right.set(
            xlim=(0.45, 1), ylim=(0, 0.8), xlabel="pairs of the own task judged right", ylabel="accuracy, zero-shot",
            title="three tasks, three seeds",
        )  # fmt: skip
        legend_below(figure, left, right)

    def update(self, labels: str) -> str:
        """Show a label set: "D4", "D8" or "D12"."""
        found = {name: self.table.row(section="accuracy", labels=labels, **of) for name, of in self._BARS.items()}
        chance = 1 / int(labels[1:])
        for bar, row in zip(self.bars, found.values(), strict=True):
            bar.set_width(row["accuracy"])
        self.intervals.set_segments([[(row["ci"][0], k), (row["ci"][1], k)] for k, row in enumerate(found.values())])
        self.chance.set_xdata([chance, chance])
        self.chance_too.set_ydata([chance, chance])
        means = []
        for name, runs in self.runs.items():
            values = [row[labels]["mean"] for _, row in runs]
            self.dots[name].set_data([own for own, _ in runs], values)
            means.append(f"{_OBJECTIVES[name]} {np.mean(values):.2f}")
        return (
            f"{labels[1:]} labels, {found['LSA']['n']} texts, accuracy: "
            + ", ".join(f"{name} {row['accuracy']:.2f}" for name, row in found.items())
            + f"; chance {chance:.2f}. Right, calibrated, mean of 3 seeds: "
            + ", ".join(means)
            + "."
        )
