"""What a right answer to each exercise of notebook 04 must satisfy."""

import math
from typing import Any

import numpy as np

from helpers import initialization as ini
from helpers.lab import Exercise
from helpers.optimizer_steps import equivalent_rates
from helpers.residual_theory import residual_moments

Generator = np.random.Generator


def _softmax_input(rng: Generator) -> dict[str, Any]:
    n = int(rng.integers(2, 7))
    return {"p": rng.dirichlet(np.ones(n)), "g": rng.standard_normal(n)}


def _identity(n_layers: int, v: float, placement: str) -> float:
    return float(residual_moments(2 * n_layers, v, placement)["identity_weight"][-1])


nominal_std = Exercise(
    "Exercise 1: ask for the right number",
    lambda rng: {"std": round(float(rng.uniform(0.01, 1)), 3), "cutoff": round(float(rng.uniform(0.5, 4)), 2)},
    {
        "larger than the standard deviation wanted": lambda answer, std, cutoff: answer > std,
        "cut off at so many of these, the normal law keeps the standard deviation wanted": lambda answer, std, cutoff: (
            np.isclose(answer * math.sqrt(ini.truncated_normal_variance(cutoff)), std, rtol=1e-6)
        ),
    },
)

softmax_backward = Exercise(
    "Exercise 2: find the bug",
    _softmax_input,
    {
        "raising all logits alike changes nothing, so the entries sum to zero": lambda answer, p, g: np.isclose(
            np.sum(answer), 0, atol=1e-9
        ),
        "it is the Jacobian of the softmax times g": lambda answer, p, g: np.allclose(
            answer, ini.softmax_jacobian(p) @ g, rtol=1e-6, atol=1e-9
        ),
    },
)

trace_bound = Exercise(
    "Exercise 3: what can pass at most",
    lambda rng: {"n": int(2 ** rng.integers(2, 9)), "d": int(2 ** rng.integers(0, 9))},
    {
        "no less than the exact mean": lambda answer, n, d: (
            answer > ini.expected_softmax_statistics(n, math.sqrt(d))[2] - 1e-9
        ),
        "never above 1 - 1/n, which uniform weights have": lambda answer, n, d: answer < 1 - 1 / n + 1e-9,
        "the smaller of the two bounds": lambda answer, n, d: np.isclose(
            answer, min(1 - 1 / n, ini.expected_maximum(n) / math.sqrt(d)), rtol=1e-6
        ),
    },
)

identity_weights = Exercise(
    "Exercise 4: what is left of the input",
    lambda rng: {"n_layers": int(rng.integers(1, 25)), "v": round(float(rng.uniform(0.05, 1.5)), 2)},
    {
        "Post-Norm: two branches in each layer, each divides by the root of 1 + v": lambda answer, n_layers, v: (
            np.isclose(answer[0], _identity(n_layers, v, "post"), rtol=1e-6)
        ),
        "Pre-Norm: the second moment grows by v with each branch": lambda answer, n_layers, v: np.isclose(
            answer[1], _identity(n_layers, v, "pre"), rtol=1e-6
        ),
    },
)

standard_rates = Exercise(
    "Exercise 5: from NTK to standard",
    lambda rng: {"m": int(rng.integers(4, 4097)), "lr": float(rng.choice([1e-3, 3e-3, 1e-2])), "eps": 1e-8},
    {
        "the learning rate gives the same steps of the effective weights": lambda answer, m, lr, eps: np.isclose(
            answer[0], equivalent_rates(m**-0.5, lr, eps)[0], rtol=1e-6, atol=0
        ),
        "ε is compared with a gradient that is larger now": lambda answer, m, lr, eps: np.isclose(
            answer[1], equivalent_rates(m**-0.5, lr, eps)[1], rtol=1e-6, atol=0
        ),
    },
)

gelu_second_moment = Exercise(
    "Exercise 6: GELU in closed form",
    lambda rng: {"a": round(float(rng.uniform(0.05, 5)), 2)},
    {
        "between those of a linear half and of the identity, a/4 and a": lambda answer, a: a / 4 < answer < a,
        "it is E gelu(√a z)²": lambda answer, a: np.isclose(
            answer, ini.activation_moments(ini.ACTIVATIONS["gelu"], a).second_moment, rtol=1e-6
        ),
    },
)
