"""Plausible wrong answers to the exercises of notebook 07 must be refused, each for the right reason."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from helpers.exercises import bert_initial_std as exercises
from helpers.lab import exercise
from tests.wrong_answers import refused

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(120)
WEIGHTS /= WEIGHTS.sum()
CUT = stats.truncnorm(-2, 2).var()


def gelu_squared(a):
    """E gelu(h)² for normal h of variance a, by Gauss-Hermite quadrature."""
    h = np.sqrt(a) * NODES
    return float(WEIGHTS @ (h * stats.norm.cdf(h)) ** 2)


def branch(std, d, d_ff):
    return d_ff * std**2 * gelu_squared(d * std**2)


def unit(d, d_ff, relu=False, target=1.0):
    strength = (lambda std: d_ff * d * std**4 / 2) if relu else (lambda std: branch(std, d, d_ff))
    return brentq(lambda std: strength(std) - target, 1e-3, 1.0, xtol=1e-14)


RIGHT = [
    (exercises.drift, lambda snr: (snr**-2, np.sqrt((snr**2 + 1 / 19) / (1 + snr**2)))),
    (exercises.first_softmax, lambda d, nominal: (nominal * np.sqrt(d * CUT), d * nominal**2 * CUT / 2)),
    (exercises.unit_branch, unit),
    (
        exercises.find_the_bug,
        lambda std, d, d_ff, n_branches: (1 + branch(std, d, d_ff)) ** (-n_branches / 2),
    ),
    (exercises.fourth_power, lambda d, d_ff, s2: (4 * s2 / d / d_ff) ** 0.25),
]
WRONG = [
    (exercises.drift, "1/r instead of its square",
     lambda snr: (1 / snr, np.sqrt((snr**2 + 1 / 19) / (1 + snr**2))), "drift"),
    (exercises.drift, "the mean step", lambda snr: (snr**-2, snr / np.sqrt(1 + snr**2)), "usual step"),
    (exercises.drift, "all of the noise kept", lambda snr: (snr**-2, 1.0), "usual step"),
    (exercises.drift, "one number", lambda snr: snr**-2, "wrong form"),
    (exercises.first_softmax, "truncation forgotten",
     lambda d, nominal: (nominal * d**0.5, d * nominal**2 / 2), "after truncation"),
    (exercises.first_softmax, "the variance",
     lambda d, nominal: (nominal**2 * d * CUT, d * nominal**2 * CUT / 2), "first number"),
    (exercises.first_softmax, "half forgotten",
     lambda d, nominal: (nominal * np.sqrt(d * CUT), d * nominal**2 * CUT), "nats"),
    (exercises.unit_branch, "LeCun's usual value", lambda d, d_ff: d**-0.5, "average square of 1"),
    (exercises.unit_branch, "ReLU's branch", lambda d, d_ff: unit(d, d_ff, relu=True), "average square of 1"),
    (exercises.unit_branch, "half the strength", lambda d, d_ff: unit(d, d_ff, target=0.5), "average square of 1"),
    (exercises.unit_branch, "the other root", lambda d, d_ff: -unit(d, d_ff), "positive"),
    (exercises.find_the_bug, "the bug left in", lambda std, d, d_ff, n_branches: (1 + std**2) ** (-n_branches / 2),
     "branch's output"),
    (exercises.find_the_bug, "the first matrix alone",
     lambda std, d, d_ff, n_branches: (1 + d * std**2) ** (-n_branches / 2), "branch's output"),
    (exercises.find_the_bug, "the square of the weight",
     lambda std, d, d_ff, n_branches: (1 + branch(std, d, d_ff)) ** -n_branches, "branch's output"),
    (exercises.find_the_bug, "sign of the exponent",
     lambda std, d, d_ff, n_branches: (1 + branch(std, d, d_ff)) ** (n_branches / 2), "between 0 and 1"),
    (exercises.fourth_power, "the square root", lambda d, d_ff, s2: (4 * s2 / d / d_ff) ** 0.5, "nearly"),
    (exercises.fourth_power, "the exact solution",
     lambda d, d_ff, s2: brentq(lambda std: branch(std, d, d_ff) / s2 - 1, 1e-6, 1, xtol=1e-16), "fourth root"),
    (exercises.fourth_power, "ReLU's half", lambda d, d_ff, s2: (2 * s2 / d / d_ff) ** 0.25, "nearly"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "answer"), RIGHT, ids=range(1, 6))
def test_a_right_answer_from_another_source_is_accepted(spec, answer, capsys):
    exercise(spec)(answer)
    assert "right on 20" in capsys.readouterr().out


test_a_plausible_wrong_answer_is_refused, test_every_exercise_has_two_wrong_answers = refused(exercises, WRONG)
