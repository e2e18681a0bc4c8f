"""Plausible wrong answers to the exercises of notebook 03 must be refused, each for the right reason."""

import numpy as np
import pytest
from scipy import stats

from helpers.exercises import linear_attention as exercises
from helpers.lab import exercise
from tests.wrong_answers import refused


def smallest_order(x, tolerance):
    return next(n for n in range(100) if stats.poisson.sf(n, x) <= tolerance)


def masked(phi_q, phi_k, v):
    weights = np.tril(phi_q @ phi_k.T)
    return weights @ v / weights.sum(axis=1, keepdims=True)


def quadratic(z, off_diagonal, diagonal):
    a, b = np.triu_indices(z.shape[1])
    return np.hstack([np.ones((len(z), 1)), z, z[:, a] * z[:, b] * np.where(a == b, diagonal, off_diagonal)])


def nearest(mu, beta):
    return np.exp(mu + beta**2 / 2) * np.array([1 - mu + (mu**2 - beta**2) / 2, 1 - mu, 0.5])


WRONG = [
    (exercises.twin, "mirrored at zero", lambda x: -x, "same weight"),
    (exercises.twin, "the same score", lambda x: x, "other score"),
    (exercises.twin, "mirrored at -2", lambda x: -4 - x, "same weight"),
    (exercises.features_needed, "tolerance instead of its square",
     lambda q, k, tolerance: np.expm1((q + k) @ (q + k)) / tolerance, "relative variance"),
    (exercises.features_needed, "the difference of q and k",
     lambda q, k, tolerance: np.expm1((q - k) @ (q - k)) / tolerance**2, "relative variance"),
    (exercises.features_needed, "without the -1", lambda q, k, tolerance: np.exp((q + k) @ (q + k)) / tolerance**2,
     "relative variance"),
    (exercises.order_needed, "one too few", lambda x, tolerance: smallest_order(x, tolerance) - 1, "reaches"),
    (exercises.order_needed, "one too many", lambda x, tolerance: smallest_order(x, tolerance) + 1, "one order less"),
    (exercises.order_needed, "the score itself", lambda x, tolerance: x, "whole number"),
    (exercises.order_needed, "the error at half the score", lambda x, tolerance: smallest_order(x / 2, tolerance),
     "reaches"),
    (exercises.causal, "without the mask", lambda phi_q, phi_k, v:
     phi_q @ (phi_k.T @ v) / (phi_q @ phi_k.sum(axis=0))[:, None], "first token"),
    (exercises.causal, "not normalised", lambda phi_q, phi_k, v: np.tril(phi_q @ phi_k.T) @ v, "first token"),
    (exercises.causal, "divided by the number of tokens seen", lambda phi_q, phi_k, v:
     np.cumsum(v, axis=0) / np.arange(1, len(v) + 1)[:, None], "masked, normalised"),
    (exercises.causal, "transposed", lambda phi_q, phi_k, v: np.pad(masked(phi_q, phi_k, v), ((0, 1), (0, 0))),
     "one output per token"),
    (exercises.find_the_bug, "the bug left in", lambda z: quadratic(z, 0.5**0.5, 0.5**0.5), "inner products"),
    (exercises.find_the_bug, "squares too large", lambda z: quadratic(z, 1, 1), "inner products"),
    (exercises.find_the_bug, "every product twice", lambda z: np.hstack(
        [np.ones((len(z), 1)), z, (z[:, :, None] * z[:, None, :]).reshape(len(z), -1) / 2**0.5]), "once"),
    (exercises.best_quadratic, "Taylor at zero", lambda mu, beta: np.array([1, 1, 0.5]), "orthogonal"),
    (exercises.best_quadratic, "Taylor at the mean", lambda mu, beta:
     np.exp(mu) * np.array([1 - mu + mu**2 / 2, 1 - mu, 0.5]), "orthogonal"),
    (exercises.best_quadratic, "without the factor", lambda mu, beta: nearest(mu, beta) / np.exp(mu + beta**2 / 2),
     "orthogonal"),
    (exercises.best_quadratic, "as a function of t", lambda mu, beta:
     np.exp(mu + beta**2 / 2) * np.array([1 - beta**2 / 2, beta, beta**2 / 2]), "orthogonal"),
    (exercises.best_quadratic, "four coefficients", lambda mu, beta: np.append(nearest(mu, beta), 0.0), "three"),
]  # fmt: skip

RIGHT = [
    (exercises.twin, lambda x: -2 - x),
    (exercises.features_needed, lambda q, k, tolerance: np.expm1((q + k) @ (q + k)) / tolerance**2),
    (exercises.order_needed, smallest_order),
    (exercises.causal, masked),
    (exercises.find_the_bug, lambda z: quadratic(z, 1.0, 0.5**0.5)),
    (exercises.best_quadratic, nearest),
]


test_a_plausible_wrong_answer_is_refused, test_every_exercise_has_two_wrong_answers = refused(exercises, WRONG)


@pytest.mark.parametrize(("spec", "answer"), RIGHT)
def test_a_right_answer_by_another_way_is_accepted(spec, answer, capsys):
    exercise(spec)(answer)
    assert capsys.readouterr().out == f"{spec.title}: right on 20 random inputs\n"


def test_inputs_reach_what_the_exercises_are_about():
    rng = np.random.default_rng(0)
    pairs = [exercises.features_needed.draw(rng) for _ in range(50)]
    opposite = [np.array_equal(given["q"], -given["k"]) for given in pairs]
    assert any(opposite)
    assert not all(opposite)
    assert all(0.05 <= given["tolerance"] <= 0.5 for given in pairs)
    assert all(given["q"].shape == given["k"].shape == (3,) for given in pairs)
    assert all(round(given["tolerance"], 2) == given["tolerance"] for given in pairs)
    orders = [smallest_order(**exercises.order_needed.draw(rng)) for _ in range(50)]
    assert min(orders) >= 1
    assert max(orders) >= 12
    tokens = [exercises.causal.draw(rng) for _ in range(50)]
    assert {len(given["v"]) for given in tokens} == set(range(2, 8))
    assert {given["v"].shape[1] for given in tokens} == {2}
    features = [given[side] for given in tokens for side in ("phi_q", "phi_k")]
    assert all(phi.shape[1] == 3 and phi.min() >= 0.1 and phi.max() <= 1 for phi in features)
    z = [exercises.find_the_bug.draw(rng)["z"] for _ in range(50)]
    assert {rows.shape[1] for rows in z} == {2, 3, 4}


@pytest.mark.parametrize(("mu", "beta"), [(0.0, 1.0), (-0.7, 0.4)])
def test_what_is_left_of_the_exponential(mu, beta):
    """Oracle: E[e^x (t², t, 1)] = e^{mu + beta²/2} (1 + beta², beta, 1) and E[e^{2x}] = e^{2 mu + 2 beta²}."""
    left = exercises._remaining_error([0, 0, 0], mu, beta)
    assert np.allclose(left, -np.exp(-(beta**2) / 2) * np.array([1 + beta**2, beta, 1]))
