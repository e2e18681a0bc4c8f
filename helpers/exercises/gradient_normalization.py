"""What a right answer to each exercise of notebook 08 must satisfy."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from helpers import wgan
from helpers.lab import Exercise

Generator = np.random.Generator


def _two_pieces(rng: Generator) -> dict[str, float]:
    """D = a + x up to t, then slope k, away from the cases in which nothing jumps."""
    a, t = rng.uniform(-2, 2), rng.uniform(-1, 1)
    away = 0.2 * np.sign(a + t)
    return {"a": float(a + away), "t": float(t), "k": float(rng.choice([rng.uniform(0.2, 0.8), rng.uniform(1.3, 4)]))}


def _is_number(answer: Any, truth: float) -> bool:
    return bool(np.shape(answer) == () and np.isclose(answer, truth, rtol=1e-6, atol=1e-9))


def _critic(rng: Generator) -> dict[str, Any]:
    """A small critic in float64, and a batch."""
    critic = wgan.SeedBatchedMLP([int(rng.integers(1000))], 2, [8, 8], 1, dtype=torch.float64).single(0)
    return {"critic": critic.requires_grad_(True), "x": torch.from_numpy(rng.standard_normal((16, 2)))}


def _weight_gradient(critic: nn.Sequential, x: Tensor) -> Tensor:
    loss = -wgan.gradient_normalize(critic, x, "gn").mean()
    return torch.autograd.grad(loss, critic[0].weight)[0]


def _border(rng: Generator) -> dict[str, Any]:
    """Gradient on one side and a normal, neither orthogonal nor parallel to it."""
    while True:
        g1, w = rng.standard_normal((2, int(rng.integers(2, 6)))) * rng.uniform(0.3, 3, (2, 1))
        cosine = abs(g1 @ w) / np.linalg.norm(g1) / np.linalg.norm(w)
        if 0.1 < cosine < 0.95:
            return {"g1": g1, "w": w}


def _parallel(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.isclose(abs(a @ b), np.linalg.norm(a) * np.linalg.norm(b), rtol=1e-9))


def _jump(a: float, t: float, k: float, mode: str) -> float:
    return float(wgan.boundary_jump(a + t, 1.0, k, mode))


def _missing(a: float, t: float, k: float) -> float:
    true, autograd = wgan.two_piece_gradients(a, 1.0, k - 1, t, "gn")
    return true - autograd


two_jumps = Exercise(
    "Exercise 1: two jumps",
    _two_pieces,
    {
        "two numbers": lambda answer, a, t, k: np.shape(answer) == (2,),
        "the first is what D/n gains at the kink": lambda answer, a, t, k: _is_number(
            answer[0], _jump(a, t, k, "plain")
        ),
        "the second is what GN gains at the kink": lambda answer, a, t, k: _is_number(answer[1], _jump(a, t, k, "gn")),
    },
)

find_the_bug = Exercise(
    "Exercise 3: find the bug",
    _critic,
    {
        "it has the shape of the first layer's weights": lambda answer, critic, x: (
            answer.shape == critic[0].weight.shape
        ),
        "it is the gradient of the loss, the part through n included": lambda answer, critic, x: torch.allclose(
            torch.as_tensor(answer), _weight_gradient(critic, x), rtol=1e-6, atol=1e-10
        ),
    },
)

fold = Exercise(
    "Exercise 4: the fold",
    _border,
    {
        "a vector like g1": lambda answer, g1, w: np.shape(answer) == g1.shape,
        "it has the length of g1": lambda answer, g1, w: np.isclose(np.linalg.norm(answer), np.linalg.norm(g1)),
        "it is not g1 itself: the network bends": lambda answer, g1, w: not np.allclose(answer, g1),
        "it differs from g1 along w only: the network is continuous": lambda answer, g1, w: _parallel(answer - g1, w),
    },
)

missing_term = Exercise(
    "Exercise 5: the missing term",
    _two_pieces,
    {
        "together with autograd's part it is the true derivative": lambda answer, a, t, k: _is_number(
            answer, _missing(a, t, k)
        ),
    },
)
