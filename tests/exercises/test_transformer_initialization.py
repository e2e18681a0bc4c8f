"""Plausible wrong answers to the exercises of notebook 04 must be refused, each for the right reason."""

import numpy as np
import pytest
from scipy import stats

from helpers import initialization as ini
from helpers.exercises import transformer_initialization as exercises
from helpers.lab import exercise
from tests.wrong_answers import refused


def variance_left(c):
    return stats.truncnorm(-c, c).var()


def both_positive(a):
    """E Φ(u)² for u of variance a."""
    return 0.25 + np.arcsin(a / (1 + a)) / (2 * np.pi)


WRONG = [
    (exercises.nominal_std, "multiplied instead of divided",
     lambda std, cutoff: std * variance_left(cutoff) ** 0.5, "larger than"),
    (exercises.nominal_std, "the variance instead of its root",
     lambda std, cutoff: std / variance_left(cutoff), "keeps the standard deviation"),
    (exercises.nominal_std, "the factor of the usual cut", lambda std, cutoff: 1.1368472 * std, "keeps the standard"),
    (exercises.nominal_std, "clipped instead of redrawn",
     lambda std, cutoff: std / np.clip(stats.norm.ppf(np.linspace(1e-6, 1 - 1e-6, 99_999)), -cutoff, cutoff).std(),
     "keeps the standard"),
    (exercises.softmax_backward, "the bug left in", lambda p, g: p * (1 - p) * g, "sum to zero"),
    (exercises.softmax_backward, "the mean of g not weighted", lambda p, g: p * (g - g.mean()), "sum to zero"),
    (exercises.softmax_backward, "centred, but no Jacobian", lambda p, g: g - g.mean(), "Jacobian"),
    (exercises.softmax_backward, "a thousandth too large", lambda p, g: 1.001 * p * (g - p @ g), "Jacobian"),
    (exercises.trace_bound, "divided by d instead of its root",
     lambda n, d: min(1 - 1 / n, ini.expected_maximum(n) / d), "no less"),
    (exercises.trace_bound, "only the bound for large s", lambda n, d: ini.expected_maximum(n) / d**0.5, "never above"),
    (exercises.trace_bound, "only the bound of uniform weights", lambda n, d: 1 - 1 / n, "smaller of the two"),
    (exercises.trace_bound, "the exact mean, not the bound",
     lambda n, d: ini.expected_softmax_statistics(n, d**0.5)[2], "smaller of the two"),
    (exercises.identity_weights, "one branch per layer",
     lambda n_layers, v: ((1 + v) ** (-n_layers / 2), (1 + n_layers * v) ** -0.5), "two branches"),
    (exercises.identity_weights, "Pre-Norm: share of the second moment",
     lambda n_layers, v: ((1 + v) ** -n_layers, 1 / (1 + 2 * n_layers * v)), "Pre-Norm"),
    (exercises.identity_weights, "one number instead of two", lambda n_layers, v: (1 + v) ** -n_layers, "wrong form"),
    (exercises.standard_rates, "multiplied instead of divided",
     lambda m, lr, eps: (lr * m**0.5, eps / m**0.5), "learning rate"),
    (exercises.standard_rates, "the rate of gradient descent", lambda m, lr, eps: (lr / m, eps), "learning rate"),
    (exercises.standard_rates, "ε left as it was", lambda m, lr, eps: (lr / m**0.5, eps), "ε"),
    (exercises.gelu_second_moment, "ReLU's half", lambda a: a / 2, "it is E gelu"),
    (exercises.gelu_second_moment, "Stein's lemma once", lambda a: a * both_positive(a) * 0.9, "it is E gelu"),
    (exercises.gelu_second_moment, "divided by a", lambda a: both_positive(a) / (10 * a), "between"),
]  # fmt: skip


test_a_plausible_wrong_answer_is_refused, test_every_exercise_has_two_wrong_answers = refused(exercises, WRONG)


def gelu_solution(a):
    return a * both_positive(a) + 2 * a * a / (1 + a) / (2 * np.pi * np.sqrt(1 + 2 * a))


RIGHT = {
    "nominal_std": lambda std, cutoff: std / stats.truncnorm(-cutoff, cutoff).std(),
    "softmax_backward": lambda p, g: np.array([p[i] * ((i == np.arange(len(p))) - p) @ g for i in range(len(p))]),
    "trace_bound": lambda n, d: min(1 - 1 / n, ini.expected_maximum(n) * d**-0.5),
    "identity_weights": lambda n_layers, v: (1 / (1 + v) ** n_layers, 1 / np.sqrt(1 + v * 2 * n_layers)),
    "standard_rates": lambda m, lr, eps: (lr * m**-0.5, eps / m**-0.5),
    "gelu_second_moment": gelu_solution,
}


@pytest.mark.parametrize("name", RIGHT)
def test_the_right_answer_is_accepted_on_inputs_within_the_stated_ranges(name, capsys):
    spec = getattr(exercises, name)
    exercise(spec)(RIGHT[name])
    assert capsys.readouterr().out == f"{spec.title}: right on 20 random inputs\n"
    rng, drawn = np.random.default_rng(0), []
    for _ in range(spec.n_inputs):
        drawn.append(spec.draw(rng))
    ranges = {
        "std": (0.01, 1), "cutoff": (0.5, 4), "n": (4, 256), "d": (1, 256), "n_layers": (1, 24), "v": (0.05, 1.5),
        "m": (4, 4096), "lr": (1e-3, 1e-2), "eps": (1e-8, 1e-8), "a": (0.05, 5),
    }  # fmt: skip
    for each in drawn:
        for key, value in each.items():
            if key in ranges:
                assert ranges[key][0] <= value <= ranges[key][1]
            elif key == "p":
                assert 2 <= len(value) == len(each["g"]) <= 6


def test_gelu_closed_form_against_quadrature():
    """SciPy's quadrature is the oracle for what the check compares with."""
    from scipy import integrate

    square = lambda u: (u * stats.norm.cdf(u)) ** 2 * stats.norm.pdf(u, scale=1.3**0.5)  # noqa: E731
    assert gelu_solution(1.3) == pytest.approx(integrate.quad(square, -12, 12)[0], rel=1e-9)


def test_inputs_cover_both_sides_of_the_bound():
    """Some inputs are limited by uniform weights, some by the largest of n: both halves of the minimum are asked."""
    rng = np.random.default_rng(0)
    drawn = [exercises.trace_bound.draw(rng) for _ in range(20)]
    large = [ini.expected_maximum(each["n"]) / each["d"] ** 0.5 < 1 - 1 / each["n"] for each in drawn]
    assert 3 < sum(large) < 17
