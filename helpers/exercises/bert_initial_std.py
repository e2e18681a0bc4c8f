"""What a right answer to each exercise of notebook 07 must satisfy."""

from typing import Any

import numpy as np

from helpers import initialization as init
from helpers import optimizer_steps
from helpers.lab import Exercise
from helpers.residual_theory import branch_variance, residual_moments

Generator = np.random.Generator


def _sizes(rng: Generator) -> dict[str, Any]:
    d = 2 ** int(rng.integers(6, 11))
    return {"d": d, "d_ff": int(rng.choice([2, 4, 8])) * d}


def _feed_forward(std: float, d: int, d_ff: int) -> float:
    return branch_variance(float(std), d, d_ff, n_tokens=2)[1]


def _identity_weight(std: float, d: int, d_ff: int, n_branches: int) -> float:
    s2 = _feed_forward(std, d, d_ff)
    return float(residual_moments(n_branches, s2, "post")["identity_weight"][-1])


def _score_variance(d: int, nominal: float) -> float:
    return d * nominal**2 * init.truncated_normal_variance()


drift = Exercise(
    "Exercise 1: when does the drift win",
    lambda rng: {"snr": round(float(rng.uniform(0.01, 1.0)), 3)},
    {
        "drift and random walk have gone equally far after the first number of steps": lambda answer, snr: np.isclose(
            answer[0] * snr**2, 1, rtol=1e-6
        ),
        "the second number is Adam's usual step over the learning rate": lambda answer, snr: np.isclose(
            answer[1], optimizer_steps.adam_step_ratio(snr)[0], rtol=1e-6
        ),
    },
)

first_softmax = Exercise(
    "Exercise 2: the first softmax",
    lambda rng: {"d": 2 ** int(rng.integers(6, 11)), "nominal": round(float(rng.uniform(0.005, 0.03)), 4)},
    {
        "the first number is the standard deviation of a score, after truncation": lambda answer, **given: np.isclose(
            answer[0] ** 2, _score_variance(**given), rtol=1e-5
        ),
        "the second is how many nats the entropy lies below that of a uniform softmax": lambda answer, **given: (
            np.isclose(answer[1], _score_variance(**given) / 2, rtol=1e-5)
        ),
    },
)

unit_branch = Exercise(
    "Exercise 3: a branch of size one",
    _sizes,
    {
        "the standard deviation is positive": lambda answer, **sizes: answer > 0,
        "with it a feed-forward branch has an average square of 1": lambda answer, **sizes: np.isclose(
            _feed_forward(answer, **sizes), 1, rtol=1e-6
        ),
    },
)

find_the_bug = Exercise(
    "Exercise 4: find the bug",
    lambda rng: _sizes(rng) | {"std": round(float(rng.uniform(0.01, 0.04)), 4), "n_branches": int(rng.integers(4, 25))},
    {
        "it is a share: between 0 and 1": lambda answer, **given: 0 < answer < 1,
        "it falls by the square of the branch's output, not of its weights": lambda answer, **given: np.isclose(
            answer / _identity_weight(**given), 1, rtol=1e-6
        ),
    },
)

fourth_power = Exercise(
    "Exercise 5: the fourth power",
    lambda rng: _sizes(rng) | {"s2": float(f"{10 ** rng.uniform(-8, -6):.3g}")},
    {
        "the standard deviation is positive": lambda answer, **given: answer > 0,
        "with it a feed-forward branch has nearly the average square s2": lambda answer, d, d_ff, s2: np.isclose(
            _feed_forward(answer, d, d_ff) / s2, 1, rtol=0.02
        ),
        "it grows with the fourth root of s2, exactly": lambda answer, d, d_ff, s2: np.isclose(
            answer**4 * d * d_ff / (4 * s2), 1, rtol=1e-6
        ),
    },
)
