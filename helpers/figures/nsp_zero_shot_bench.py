"""The test bench of notebook 05: any text and any labels, scored by the shipped model."""

import textwrap
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from helpers import nsp
from helpers.lab import style
from helpers.nsp_documents import held_out, section_labels
from helpers.tiny_bert import load_tiny_bert

Array = NDArray[np.floating]


class Bench:
    """Scores of one text for typed labels, by NSP and by the masked word, and which words make the winner win."""

    OWN = "the text I type"
    TEXT = "Shoot the aliens before they land on your planet. Each of the twenty levels is faster than the last."
    LABELS = "game, music, font, science, mail, mathematics, editor, web"
    TEMPLATES = nsp.TEMPLATES[::2]
    CALIBRATIONS: ClassVar = {"none": "none", "unlabelled mean": "mean", "neutral text ...": "neutral"}
    MOST_LABELS = 10
    N_REFERENCE = 24

    @staticmethod
    def examples() -> dict[str, int]:
        """The first held-out test document of each section: what is shown -> its place; -1 is the typed text."""
        first = {}
        for k, document in enumerate(held_out("test")):
            if document["section"] in section_labels(8):
                first.setdefault(document["section"], k)
        return {Bench.OWN: -1} | {f"{section}: first held-out text": k for section, k in first.items()}

    def __init__(self, figure: Figure) -> None:
        self.model, self.tokenizer = load_tiny_bert()
        self.documents = held_out("test")
        dev = held_out("dev")
        self.reference = [_text(dev[k]) for k in np.linspace(0, len(dev) - 1, self.N_REFERENCE).round().astype(int)]
        self.known: dict[tuple[str, ...], float] = {}  # mean score of a prompt over the reference texts
        figure.set_figheight(5.6)
        grid = figure.add_gridspec(2, 2, height_ratios=(1.5, 1))
        left, right, below = (figure.add_subplot(cell) for cell in (grid[0, 0], grid[0, 1], grid[1, :]))
        self.nsp = _Bars(left, self.MOST_LABELS, "next sentence: s, and σ(s)", "score s - β")
        self.pet = _Bars(right, self.MOST_LABELS, "masked word (PET), and p", "log p - β, minus its mean")
        self.words = _Words(below)

    def update(self, example: int, text: str, labels: str, template: str, order: str, calibration: str) -> str:
        """Score the text for every label by both heads of the same network."""
        names = _parsed(labels, self.MOST_LABELS)
        shown = text if example < 0 else _text(self.documents[example])
        if not shown.strip():
            raise ValueError("text must hold at least one word, got an empty one")
        scores, biases = self._next_sentence(shown, names, template, order, calibration)
        best, second = np.argsort(scores - biases)[[-1, -2]]
        raw = " raw" if calibration != "none" else ""
        self.nsp.show(names, scores - biases, [f"{p:.2f}" for p in 1 / (1 + np.exp(-scores))])
        masked = self._masked_word(shown, names, template, order, calibration)
        prompts = nsp.fill_template(template, names)
        tokens, deltas = nsp.occlusion(self.model, self.tokenizer, shown, prompts[best], order)
        self.words.show(tokens, deltas)
        lead = (scores - biases)[best] - (scores - biases)[second]
        return (
            f"NSP says {names[best]} (s = {scores[best]:.1f}{raw}), ahead of {names[second]} by {lead:.1f}; "
            f"the masked word says {masked}. {_spokesman(tokens, deltas)}" + self._remarks(shown, prompts)
        )

    def _next_sentence(self, text: str, names: list[str], template: str, order: str, calibration: str) -> list[Array]:
        """Score and bias of each label, [C] each."""

        def score(texts: Sequence[str], names: list[str]) -> Array:
            prompts = nsp.fill_template(template, names)
            return nsp.nsp_scores(self.model, self.tokenizer, texts, prompts, order, too_long="cut")

        return [score([text], names)[0], self._biases(score, names, calibration, ("nsp", template, order))]

    def _masked_word(self, text: str, names: list[str], template: str, order: str, calibration: str) -> str:
        """Draw the bars of the other head and return its winner."""

        def score(texts: Sequence[str], names: list[str]) -> Array:
            return nsp.mlm_label_scores(self.model, self.tokenizer, texts, names, template, order, too_long="cut")

        whole = [name for name in names if len(self.tokenizer.encode(name, add_special_tokens=False).ids) == 1]
        values, notes = np.full(len(names), np.nan), ["not one token"] * len(names)
        if not whole:
            self.pet.show(names, values, notes)
            return "nothing, since no label is one token"
        scores = score([text], whole)[0]
        calibrated = scores - self._biases(score, whole, calibration, ("pet", template, order))
        for name, value, log_p in zip(whole, calibrated - calibrated.mean(), scores, strict=True):
            values[names.index(name)] = value
            notes[names.index(name)] = f"{np.exp(log_p):.1g}"
        self.pet.show(names, values, notes)
        return whole[int(np.argmax(calibrated))]

    def _biases(self, score: Callable, names: list[str], calibration: str, where: tuple[str, ...]) -> Array:
        """What each label scores whatever the text, [C]; each is measured once."""
        if calibration == "none":
            return np.zeros(len(names))
        texts = self.reference if calibration == "mean" else ["..."]
        new = [name for name in names if (*where, calibration, name) not in self.known]
        if new:
            means = nsp.calibration_bias(score(texts, new))
            self.known |= {(*where, calibration, name): float(b) for name, b in zip(new, means, strict=True)}
        return np.array([self.known[(*where, calibration, name)] for name in names])

    def _remarks(self, text: str, prompts: list[str]) -> str:
        report = nsp.text_report(self.tokenizer, text, prompts)
        cut = f" Only the first {report.kept} of {len(report.tokens)} tokens were read."
        unknown = f" {report.unknown:.0%} of the tokens are unknown to the model: do not trust it."
        return (cut if report.kept < len(report.tokens) else "") + (unknown if report.unknown > 0.3 else "")


def _text(document: dict) -> str:
    return " ".join(document["sentences"])


def _spokesman(tokens: Sequence[str], deltas: Array) -> str:
    most = int(np.argmax(deltas))
    return f"Speaks most for it: {tokens[most]}." if deltas[most] > 0 else "No token alone speaks for it."


def _parsed(labels: str, most: int) -> list[str]:
    names = [name.strip().lower() for name in labels.split(",") if name.strip()]
    if not 2 <= len(names) <= most:
        raise ValueError(f"labels must be 2 to {most} words with commas between, got {len(names)}")
    return names


class _Bars:
    """One horizontal bar per label, its name on the left and a note on the right; the best one is dark."""

    _REACH = 12.0  # longer bars end here
    _WIDEST = 20  # characters of a name

    def __init__(self, axes: Axes, most: int, title: str, xlabel: str) -> None:
        self.bars = axes.barh(
            np.arange(most), np.zeros(most), height=0.72, color=style.COLORS["sky"], edgecolor=style.COLORS["black"]
        )
        self.names, self.notes = (
            [axes.text(x, y, "", va="center", ha=side, fontsize=9) for y in range(most)]
            for x, side in ((-2.3 * self._REACH, "left"), (1.9 * self._REACH, "right"))
        )
        axes.axvline(0, color=style.COLORS["black"], linewidth=0.8)
        axes.set(
            xlim=(-2.4 * self._REACH, 2 * self._REACH), ylim=(most - 0.4, -0.6), yticks=[], xticks=[-10, -5, 0, 5, 10],
            title=title, xlabel=xlabel,
        )  # fmt: skip

    def show(self, names: list[str], values: Array, notes: list[str]) -> None:
        """Draw the values that are finite; the places that are left over stay empty."""
        best = int(np.nanargmax(values)) if np.isfinite(values).any() else -1
        for k, (bar, name, note) in enumerate(zip(self.bars, self.names, self.notes, strict=True)):
            used = k < len(names)
            value = values[k] if used and np.isfinite(values[k]) else 0.0
            bar.set_width(float(np.clip(value, -self._REACH, self._REACH)))
            bar.set_visible(used)
            bar.set_facecolor(style.COLORS["blue" if k == best else "sky"])
            name.set_text(textwrap.shorten(names[k], self._WIDEST, placeholder=" …") if used else "")
            name.set_fontweight("bold" if k == best else "normal")
            note.set_text(notes[k] if used else "")


class _Words:
    """One bar per token of the text: what the winner loses when the token is masked."""

    _MOST, _FEWEST = 61, 24

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        self.bars = axes.bar(np.arange(self._MOST), np.zeros(self._MOST), color=style.COLORS["blue"])
        self.tokens = [axes.text(k, 0, "", rotation=90, ha="center", fontsize=8) for k in range(self._MOST)]
        axes.axhline(0, color=style.COLORS["black"], linewidth=0.8)
        axes.set(ylim=(-1, 1), xlim=(0, 1), xticks=[], ylabel="loss of s without it")
        axes.set_title("what each word adds to the winner's score")

    def show(self, tokens: Sequence[str], deltas: Array) -> None:
        """Tokens stand below their bars, or above those that point down."""
        reach = 2.0 ** np.ceil(np.log2(max(1.0, 1.05 * np.abs(deltas).max())))  # few limits, so they change seldom
        if reach != self.axes.get_ylim()[1]:
            self.axes.set_ylim(-reach, reach)
        step = 1 / max(len(tokens), self._FEWEST)
        for k, (bar, token) in enumerate(zip(self.bars, self.tokens, strict=True)):
            used = k < len(tokens)
            height = float(deltas[k]) if used else 0.0
            bar.set(x=(k + 0.1) * step, width=0.8 * step, height=height, visible=used)
            bar.set_facecolor(style.COLORS["blue" if height > 0 else "orange"])
            token.set(x=(k + 0.5) * step, y=(-0.03 if height > 0 else 0.03) * reach, text=tokens[k] if used else "")
            token.set_verticalalignment("top" if height > 0 else "bottom")
