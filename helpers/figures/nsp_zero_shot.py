"""Pictures of notebook 05: next-sentence prediction as a classifier without examples."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from helpers import nsp_theory as theory
from helpers.figures.nsp_zero_shot_bench import Bench
from helpers.figures.nsp_zero_shot_results import PretrainingSteps, Summary, Templates
from helpers.lab import style

__all__ = ["Bench", "PretrainingSteps", "Summary", "Templates", "TopicToy"]

Array = NDArray[np.floating]


class TopicToy:
    """The best possible scores of three pair tasks in a toy language, and what they are worth as classifiers."""

    TOPICS, SENTENCES = 3, 4
    _TASKS = ("random negatives (NSP)", "same-topic negatives", "swapped order (SOP)")
    _TIE = 1e-9  # scores that differ by less are equal but for rounding

    def __init__(self, figure: Figure) -> None:
        figure.set_figheight(3.9)
        *maps, right = figure.subplots(1, 4, width_ratios=(1, 1, 1, 0.75))
        size = self.TOPICS * self.SENTENCES
        self.images = []
        for axes, title in zip(maps, self._TASKS, strict=True):
            image = axes.imshow(np.zeros((size, size)), cmap=style.SIGNED, vmin=-2.5, vmax=2.5, interpolation="nearest")
            self.images.append(image)
            ticks = np.arange(self.TOPICS) * self.SENTENCES + (self.SENTENCES - 1) / 2
            axes.set_xticks(ticks, labels=["topic 1", "topic 2", "topic 3"], fontsize=8)
            axes.set_yticks(ticks, labels=["1", "2", "3"] if axes is maps[0] else [""] * self.TOPICS, fontsize=8)
            axes.tick_params(length=0)
            axes.grid(visible=False)
            axes.set_title(title, fontsize=10)
            axes.set_xlabel("second sentence b")
        maps[0].set_ylabel("first sentence a, by topic")
        below = {"location": "bottom", "shrink": 0.5, "extend": "both"}
        figure.colorbar(self.images[0], ax=maps, label="best score s*(a, b)", **below)
        self.bars = right.bar(range(3), np.zeros(3), color=style.COLORS["blue"], width=0.6)
        self.notes = [right.text(k, 0, "", ha="center", va="bottom", fontsize=9) for k in range(3)]
        right.axhline(1 / self.TOPICS, label="chance", color=style.COLORS["black"], linestyle=":")
        right.set(ylim=(0, 1.12), title="as a classifier", ylabel="share of texts right")
        right.set_xticks(range(3), labels=["NSP", "same\ntopic", "SOP"], fontsize=9)
        right.legend(loc="upper right", fontsize=8)

    def update(self, overlap: float, continuity: float) -> str:
        """Best scores of the three tasks; the first sentence of each topic serves as the prompt of its label."""
        joint, same_topic = theory.topic_chain(self.TOPICS, self.SENTENCES, overlap, continuity)
        random = np.outer(joint.sum(axis=1), joint.sum(axis=0))
        scores = [theory.optimal_scores(joint, negatives) for negatives in (random, same_topic, joint.T)]
        right = [self._accuracy(s, overlap) for s in scores]
        for image, s, bar, note, accuracy in zip(self.images, scores, self.bars, self.notes, right, strict=True):
            image.set_data(np.where(np.abs(s) < self._TIE, 0.0, s))
            bar.set_height(accuracy)
            note.set_text(f"{accuracy:.2f}")
            note.set_y(accuracy + 0.01)
        largest = [float(np.abs(s).max()) for s in scores]
        return (
            f"Overlap {overlap:.2g}, continuity {continuity:.2g}: largest |s*| is {_or_zero(largest[0])} for NSP, "
            f"{_or_zero(largest[1])} with same-topic negatives, {_or_zero(largest[2])} for SOP. Texts put into their "
            f"topic: {right[0]:.2f}, {right[1]:.2f}, {right[2]:.2f} (chance {1 / self.TOPICS:.2f})."
        )

    def _accuracy(self, s: Array, overlap: float) -> float:
        """Share of texts put into the topic they were written on, by the best of the prompts; ties share the credit."""
        prompts = np.arange(self.TOPICS) * self.SENTENCES
        texts = np.setdiff1d(np.arange(len(s)), prompts)
        candidates = s[np.ix_(prompts, texts)]
        winners = candidates > candidates.max(axis=0) - self._TIE
        topic = np.full(candidates.shape, overlap / self.TOPICS)  # p(topic | text)
        topic[texts // self.SENTENCES, np.arange(len(texts))] += 1 - overlap
        return float(np.mean((winners * topic).sum(axis=0) / winners.sum(axis=0)))


def _or_zero(number: float) -> str:
    return f"{number:.2f}" if number > TopicToy._TIE else "0"
