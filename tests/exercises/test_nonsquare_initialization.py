"""Plausible wrong answers to the exercises of notebook 06 must be refused, each for the right reason."""

import numpy as np
import pytest

from helpers.exercises import nonsquare_initialization as exercises
from helpers.lab import WrongAnswer, exercise
from tests.wrong_answers import refused


def ends(widths, variance):
    n = np.array(widths, dtype=float)
    v = variance(n[:-1], n[1:])
    return np.prod(n[:-1] * v), np.prod(n[1:] * v)


RIGHT = [
    (exercises.symmetric_scheme, lambda m, n: (m * n) ** -0.5),
    (exercises.ratio_for_loss, lambda kept: (2 - kept + 2 * np.sqrt(1 - kept)) / kept),
    (exercises.two_ends, lambda widths: ends(widths, lambda m, n: 2 / (m + n))),
    (exercises.mirrored_divergence, lambda m, n: (1 / m + 1 / n) / 2),
    (exercises.repair_orthogonal, lambda m, n: (max(m, n) / min(m, n)) ** 0.25),
    (exercises.find_the_bug, lambda x, W: np.mean(np.maximum(x @ W, 0) ** 2) / np.mean(x**2)),
]

WRONG = [
    (exercises.symmetric_scheme, "Xavier", lambda m, n: 2 / (m + n), "keeps the second moment"),
    (exercises.symmetric_scheme, "fan-in", lambda m, n: 1 / m, "keeps the second moment"),
    (exercises.symmetric_scheme, "a standard deviation", lambda m, n: (m * n) ** -0.25, "keeps the second moment"),
    (exercises.symmetric_scheme, "the other root", lambda m, n: -((m * n) ** -0.5), "variance is positive"),
    (exercises.symmetric_scheme, "an array", lambda m, n: np.full(1, (m * n) ** -0.5), "keeps the second moment"),
    (exercises.ratio_for_loss, "the ratio below 1",
     lambda kept: (2 - kept - 2 * np.sqrt(1 - kept)) / kept, "ratio is above 1"),
    (exercises.ratio_for_loss, "one layer, not a block",
     lambda kept: (2 - kept**2 + 2 * np.sqrt(1 - kept**2)) / kept**2, "keeps this share"),
    (exercises.ratio_for_loss, "the factor of orthogonal", lambda kept: 1 / kept, "keeps this share"),
    (exercises.two_ends, "forward and backward exchanged",
     lambda widths: ends(widths, lambda m, n: 2 / (m + n))[::-1], "forward is the product"),
    (exercises.two_ends, "the geometric mean", lambda widths: ends(widths, lambda m, n: (m * n) ** -0.5), "forward is"),
    (exercises.two_ends, "backward like forward",
     lambda widths: (ends(widths, lambda m, n: 2 / (m + n))[0],) * 2, "backward is the product"),
    (exercises.two_ends, "one number", lambda widths: ends(widths, lambda m, n: 2 / (m + n))[0], "wrong form"),
    (exercises.two_ends, "a third number",
     lambda widths: (*ends(widths, lambda m, n: 2 / (m + n)), 1.0), "first width over the last"),
    (exercises.mirrored_divergence, "Xavier again", lambda m, n: 2 / (m + n), "has a larger loss"),
    (exercises.mirrored_divergence, "geometric", lambda m, n: (m * n) ** -0.5, "has a larger loss"),
    (exercises.mirrored_divergence, "the sum, not the mean", lambda m, n: 1 / m + 1 / n, "has a larger loss"),
    (exercises.mirrored_divergence, "nearly right", lambda m, n: 0.5001 * (1 / m + 1 / n), "harmonic mean"),
    (exercises.repair_orthogonal, "the square root", lambda m, n: (max(m, n) / min(m, n)) ** 0.5, "keeps the second"),
    (exercises.repair_orthogonal, "upside down", lambda m, n: (min(m, n) / max(m, n)) ** 0.25, "at least 1"),
    (exercises.repair_orthogonal, "outputs over inputs", lambda m, n: max(1, n / m) ** 0.25, "keeps the second"),
    (exercises.find_the_bug, "the bug left in",
     lambda x, W: np.maximum(x @ W, 0).var() / x.var(), "ratio of second moments"),
    (exercises.find_the_bug, "half of it repaired",
     lambda x, W: np.mean(np.maximum(x @ W, 0) ** 2) / x.var(), "ratio of second moments"),
    (exercises.find_the_bug, "norms instead of means",
     lambda x, W: np.sum(np.maximum(x @ W, 0) ** 2) / np.sum(x**2), "ratio of second moments"),
    (exercises.find_the_bug, "a loss of sign", lambda x, W: -np.mean(x**2), "gain is positive"),
]  # fmt: skip


test_a_plausible_wrong_answer_is_refused, test_every_exercise_has_two_wrong_answers = refused(exercises, WRONG)


@pytest.mark.parametrize(("spec", "answer"), RIGHT, ids=[spec.title for spec, _ in RIGHT])
def test_the_right_answer_is_accepted(spec, answer, capsys):
    exercise(spec)(answer)
    assert capsys.readouterr().out == f"{spec.title}: right on 20 random inputs\n"


@pytest.mark.parametrize(("spec", "answer"), RIGHT, ids=[spec.title for spec, _ in RIGHT])
@pytest.mark.parametrize("factor", [0.9999, 1.0001])
def test_it_has_to_be_right_to_four_digits(spec, answer, factor):
    def nearly(**given):
        right = answer(**given)
        return tuple(factor * number for number in right) if isinstance(right, tuple) else factor * right

    with pytest.raises(WrongAnswer, match="violated"):
        exercise(spec)(nearly)


def test_inputs_are_worth_an_exercise():
    rng = np.random.default_rng(0)
    for _ in range(50):
        layer = exercises.symmetric_scheme.draw(rng)
        assert layer["m"] != layer["n"]
        assert min(layer.values()) >= 2
        assert 0.05 <= exercises.ratio_for_loss.draw(rng)["kept"] <= 0.95
        widths = exercises.two_ends.draw(rng)["widths"]
        assert 3 <= len(widths) <= 6
        assert min(widths) >= 2
        relu = exercises.find_the_bug.draw(rng)
        assert relu["x"].shape == (50, len(relu["W"]))
        assert relu["x"].min() == 0 < relu["W"].max()
        assert relu["W"].min() < 0
