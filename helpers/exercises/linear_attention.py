"""What a right answer to each exercise of notebook 03 must satisfy."""

import math
from typing import Any

import numpy as np
from numpy.polynomial import polynomial

from helpers import linear_attention as la
from helpers.lab import Exercise

Generator = np.random.Generator


def _taylor_2(x: Any) -> Any:
    return 1 + x + x * x / 2


def _pair(rng: Generator) -> dict[str, Any]:
    q, k = rng.standard_normal((2, 3)).round(2)
    if rng.random() < 0.2:
        k = -q  # zero variance: no feature too many
    return {"q": q, "k": k, "tolerance": round(float(rng.uniform(0.05, 0.5)), 2)}


def _worst_error(order: int, x: float) -> float:
    scores = np.linspace(0, x, 50)
    return float(np.abs(polynomial.polyval(scores, la.taylor_coefficients(order)) / np.exp(scores) - 1).max())


def _causal_tokens(rng: Generator) -> dict[str, Any]:
    n = int(rng.integers(2, 8))
    phi_q, phi_k = rng.uniform(0.1, 1, (2, n, 3))
    return {"phi_q": phi_q, "phi_k": phi_k, "v": rng.standard_normal((n, 2))}


def _remaining_error(answer: Any, mu: float, beta: float) -> np.ndarray:
    """Averages of (quadratic - e^x)(1, t, t²) over x = mu + beta t, relative to the root mean square of e^x."""
    t, mass = np.polynomial.hermite_e.hermegauss(60)
    x = mu + beta * t
    error = polynomial.polyval(x, np.asarray(answer, dtype=float)) - np.exp(x)
    return (mass * error) @ np.vander(t, 3) / np.sqrt(mass @ np.exp(2 * x) * mass.sum())


twin = Exercise(
    "Exercise 1: the twin",
    lambda rng: {"x": round(float(rng.uniform(-6, 4)), 2)},
    {
        "order 2 gives both scores the same weight": lambda answer, x: np.isclose(_taylor_2(answer), _taylor_2(x)),
        "it is the other score, unless x is the turn itself": lambda answer, x: x == -1 or not np.isclose(answer, x),
    },
)

features_needed = Exercise(
    "Exercise 2: how many random features",
    _pair,
    {
        "with that many features the relative variance is tolerance²": lambda answer, q, k, tolerance: np.isclose(
            answer * tolerance**2, la.random_feature_relative_variance(q, k, 1), rtol=1e-6, atol=1e-12
        ),
    },
)

order_needed = Exercise(
    "Exercise 3: which order",
    lambda rng: {"x": round(float(rng.uniform(0.5, 8)), 1), "tolerance": float(rng.choice([0.001, 0.01, 0.1]))},
    {
        "it is a whole number": lambda answer, x, tolerance: answer == int(answer) >= 0,
        "it reaches the tolerance at every score from 0 to x": lambda answer, x, tolerance: (
            _worst_error(int(answer), x) <= tolerance
        ),
        "one order less does not": lambda answer, x, tolerance: (
            answer == 0 or _worst_error(int(answer) - 1, x) > tolerance
        ),
    },
)

causal = Exercise(
    "Exercise 4: one token at a time",
    _causal_tokens,
    {
        "one output per token": lambda answer, phi_q, phi_k, v: np.shape(answer) == np.shape(v),
        "the first token can only repeat its own value": lambda answer, phi_q, phi_k, v: np.allclose(answer[0], v[0]),
        "the outputs are those of masked, normalised weights": lambda answer, phi_q, phi_k, v: np.allclose(
            answer, la.attention_matrix(phi_q, phi_k, causal=True) @ v
        ),
    },
)

find_the_bug = Exercise(
    "Exercise 5: find the bug",
    lambda rng: {"z": rng.standard_normal((int(rng.integers(2, 5)), int(rng.integers(2, 5))))},
    {
        "each product is there once": lambda answer, z: np.shape(answer) == (len(z), math.comb(z.shape[1] + 2, 2)),
        "inner products are 1 + x + x²/2": lambda answer, z: np.allclose(
            np.asarray(answer) @ np.transpose(answer), _taylor_2(z @ z.T)
        ),
    },
)

best_quadratic = Exercise(
    "Exercise 6: scores with a mean",
    lambda rng: {"mu": round(float(rng.uniform(-1, 1)), 2), "beta": round(float(rng.uniform(0.3, 1.2)), 2)},
    {
        "there are three coefficients": lambda answer, mu, beta: np.shape(answer) == (3,),
        "what is left of e^x is orthogonal to 1, x and x²": lambda answer, mu, beta: (
            np.abs(_remaining_error(answer, mu, beta)).max() < 1e-7
        ),
    },
)
