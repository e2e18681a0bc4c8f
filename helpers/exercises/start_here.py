"""What a right answer to the exercise of notebook 00 must satisfy."""

import numpy as np

from helpers.lab import Exercise


def _gap(n: int, x: float) -> float:
    return float(np.exp(x) - (1 + x / n) ** n)


enough = Exercise(
    "Exercise 1: the smallest n that is close enough",
    lambda rng: {"x": round(float(rng.uniform(0.2, 2.0)), 2), "tolerance": round(float(rng.uniform(0.02, 0.5)), 3)},
    {
        "n is a whole number, at least 1": lambda n, x, tolerance: int(n) == n and n >= 1,
        "the gap at n is at most the tolerance": lambda n, x, tolerance: _gap(n, x) <= tolerance,
        "the gap at n - 1 is above it": lambda n, x, tolerance: n == 1 or _gap(n - 1, x) > tolerance,
    },
)
