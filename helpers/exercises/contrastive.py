"""What a right answer to each exercise of notebook 02 must satisfy."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from helpers import contrastive as cl
from helpers.lab import Exercise

Generator = np.random.Generator


def _scores(rng: Generator, gap: float, shift: float = 0.0) -> dict[str, Any]:
    """A few float32 rows around `shift` whose positive is ahead of the best negative by about `gap`."""
    rows, columns = int(rng.integers(2, 5)), int(rng.integers(3, 7))
    scores = shift + rng.normal(size=(rows, columns))
    target = rng.integers(columns, size=rows)
    scores[np.arange(rows), target] += gap
    return {"scores": torch.tensor(scores, dtype=torch.float32), "target": torch.tensor(target)}


def _is_tensor(answer: Any, like: Tensor) -> bool:
    return isinstance(answer, Tensor) and answer.shape == like.shape


def _close(answer: Any, truth: Tensor) -> bool:
    answer = torch.as_tensor(answer)
    return answer.shape == truth.shape and torch.allclose(answer.double(), truth.double(), rtol=1e-5, atol=0)


def _log_xi(scores: Tensor, target: Tensor) -> Tensor:
    return cl.log_xi(scores.double(), target)


smallest_cosine_gap = Exercise(
    "Exercise 1: how far apart must cosines be",
    lambda rng: {"temperature": round(float(rng.uniform(0.01, 0.5)), 3), "negatives": int(rng.integers(1, 500))},
    {
        "divided by the temperature it is the gap of equation (4) in float32": lambda answer, temperature, negatives: (
            np.isclose(answer / temperature, cl.zero_gradient_gap(torch.float32, negatives + 1), rtol=1e-4)
        ),
    },
)

find_the_bug = Exercise(
    "Exercise 2: find the bug",
    lambda rng: _scores(rng, gap=float(rng.uniform(-3, 30)), shift=float(rng.uniform(-100, 100))),
    {
        "one number per row": lambda answer, scores, target: _is_tensor(answer, target),
        "it is the log of the sum over the negatives, minus the score of the positive": lambda answer, scores, target: (
            torch.allclose(answer.double(), _log_xi(scores, target), atol=1e-4)
        ),
    },
)

anchor_weights = Exercise(
    "Exercise 4: who is heard",
    lambda rng: {"xi": torch.tensor(10.0 ** rng.uniform(-3, 2, size=int(rng.integers(2, 6))))},
    {
        "both sets of weights sum to 1": lambda answer, xi: all(np.isclose(float(sum(part)), 1) for part in answer),
        "InfoNCE weighs an anchor by its pull": lambda answer, xi: _close(
            answer[0], xi / (1 + xi) / (xi / (1 + xi)).sum()
        ),
        "FlatNCE gives every anchor the same weight": lambda answer, xi: _close(
            answer[1], torch.full_like(xi, 1 / len(xi))
        ),
    },
)

exact_pull = Exercise(
    "Exercise 5: repair the pull",
    lambda rng: _scores(rng, gap=float(rng.uniform(0, 70))),
    {
        "one number per row": lambda answer, scores, target: _is_tensor(answer, target),
        "it stays in float32": lambda answer, scores, target: answer.dtype == torch.float32,
        "relative error below 1e-5, however far the positive is ahead": lambda answer, scores, target: _close(
            answer, torch.sigmoid(_log_xi(scores, target))
        ),
    },
)
