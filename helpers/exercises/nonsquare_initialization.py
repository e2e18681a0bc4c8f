"""What a right answer to each exercise of notebook 06 must satisfy."""

from typing import Any

import numpy as np

from helpers import initialization as ini
from helpers.lab import Exercise

Generator = np.random.Generator


def _layer(rng: Generator) -> dict[str, Any]:
    m, n = rng.choice(np.arange(2, 2000), size=2, replace=False)
    return {"m": int(m), "n": int(n)}


def _close(value: Any, target: float) -> bool:
    return np.shape(value) == () and bool(np.isclose(value, target, rtol=1e-6, atol=0))


def _widths(rng: Generator) -> dict[str, Any]:
    return {"widths": [int(width) for width in rng.integers(2, 500, size=rng.integers(3, 7))]}


def _gains(widths: list[int]) -> tuple[float, float]:
    forward, backward = ini.second_moment_gains(widths, "fan_avg")
    return float(forward[-1]), float(backward[0])


def _mirrored_loss(v: float, m: int, n: int) -> float:
    return float(ini.gain_loss([m * v, n * v], "fan_harmonic").sum())


def _relu_layer(rng: Generator) -> dict[str, Any]:
    m, n = (int(size) for size in rng.integers(3, 9, size=2))
    return {"x": np.maximum(rng.standard_normal((50, m)), 0), "W": rng.standard_normal((m, n))}


symmetric_scheme = Exercise(
    "Exercise 1: the symmetric scheme that keeps both",
    _layer,
    {
        "the variance is positive": lambda answer, m, n: answer > 0,
        "m → n → m keeps the second moment": lambda answer, m, n: _close(m * answer * n * answer, 1.0),
    },
)

ratio_for_loss = Exercise(
    "Exercise 2: how unequal may the widths be",
    lambda rng: {"kept": round(float(rng.uniform(0.05, 0.95)), 3)},
    {
        "the ratio is above 1": lambda answer, kept: answer > 1,
        "Xavier then keeps this share per block d → rd → d": lambda answer, kept: _close(
            4 * answer / (1 + answer) ** 2, kept
        ),
    },
)

two_ends = Exercise(
    "Exercise 3: both ends of a chain",
    _widths,
    {
        "forward is the product of n_{l-1} v_l": lambda answer, widths: _close(answer[0], _gains(widths)[0]),
        "backward is the product of n_l v_l": lambda answer, widths: _close(answer[1], _gains(widths)[1]),
        "their ratio is the first width over the last": lambda answer, widths: (
            len(answer) == 2 and _close(answer[0] / answer[1], widths[0] / widths[-1])
        ),
    },
)

mirrored_divergence = Exercise(
    "Exercise 4: the other Kullback-Leibler divergence",
    _layer,
    {
        "the variance is positive": lambda answer, m, n: answer > 0,
        "a slightly smaller or larger variance has a larger loss": lambda answer, m, n: (
            _mirrored_loss(answer, m, n) < min(_mirrored_loss(answer * factor, m, n) for factor in (0.995, 1.005))
        ),
        "the harmonic mean of a and b is 1": lambda answer, m, n: _close(1 / (m * answer) + 1 / (n * answer), 2.0),
    },
)

repair_orthogonal = Exercise(
    "Exercise 5: repair an orthogonal start",
    _layer,
    {
        "the singular values become at least 1": lambda answer, m, n: answer >= 1,
        "m → n → m keeps the second moment": lambda answer, m, n: _close(m * n * (answer**2 / max(m, n)) ** 2, 1.0),
    },
)

find_the_bug = Exercise(
    "Exercise 6: find the bug",
    _relu_layer,
    {
        "the gain is positive": lambda answer, x, W: answer > 0,
        "it is the ratio of second moments, wherever the inputs are centred": lambda answer, x, W: _close(
            answer, float(np.mean(np.maximum(x @ W, 0) ** 2) / np.mean(x**2))
        ),
    },
)
