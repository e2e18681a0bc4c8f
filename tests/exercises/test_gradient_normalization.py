"""Plausible wrong answers to the exercises of notebook 08 must be refused, each for the right reason."""

import numpy as np
import pytest
import torch
from scipy import stats

from helpers.exercises import gradient_normalization as exercises
from helpers.lab import exercise
from tests.wrong_answers import refused


def gn(value, norm):
    return value / (norm + abs(value))


def plain_jump(a, t, k):
    return (a + t) / k - (a + t)


def gn_jump(a, t, k):
    return gn(a + t, k) - gn(a + t, 1)


def gradient(critic, x, *, through_norm=True, squared=False, layer=0):
    x = x.clone().requires_grad_()
    value = critic(x)[:, 0]
    (g,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    g = g if through_norm else g.detach()
    norm = (g**2).sum(1) if squared else g.norm(dim=1)
    return torch.autograd.grad(-(value / (norm + value.abs())).mean(), critic[layer].weight)[0]


def mirror(g1, w):
    return g1 - 2 * (g1 @ w) / (w @ w) * w


WRONG = [
    (exercises.two_jumps, "from right to left",
     lambda a, t, k: (-plain_jump(a, t, k), -gn_jump(a, t, k)), "what D/n gains"),
    (exercises.two_jumps, "the value at zero instead of at the kink",
     lambda a, t, k: (a / k - a, gn(a, k) - gn(a, 1)), "what D/n gains"),
    (exercises.two_jumps, "without the absolute value",
     lambda a, t, k: (plain_jump(a, t, k), (a + t) / (k + a + t) - (a + t) / (1 + a + t)), "what GN gains"),
    (exercises.two_jumps, "the largest jump possible",
     lambda a, t, k: (plain_jump(a, t, k), np.tanh(np.log(k) / 4)), "what GN gains"),
    (exercises.two_jumps, "GN alone", gn_jump, "two numbers"),
    (exercises.find_the_bug, "the bug left in",
     lambda critic, x: gradient(critic, x, through_norm=False), "through n"),
    (exercises.find_the_bug, "the squared norm", lambda critic, x: gradient(critic, x, squared=True), "through n"),
    (exercises.find_the_bug, "of another layer", lambda critic, x: gradient(critic, x, layer=2), "shape of the first"),
    (exercises.find_the_bug, "uphill", lambda critic, x: -gradient(critic, x), "through n"),
    (exercises.fold, "no fold", lambda g1, w: g1, "bends"),
    (exercises.fold, "turned round", lambda g1, w: -g1, "along w only"),
    (exercises.fold, "mirrored in the wrong plane", lambda g1, w: -mirror(g1, w), "along w only"),
    (exercises.fold, "w taken as a unit vector", lambda g1, w: g1 - 2 * (g1 @ w) * w, "length of g1"),
    (exercises.fold, "half way", lambda g1, w: g1 - (g1 @ w) / (w @ w) * w, "length of g1"),
    (exercises.fold, "a number", lambda g1, w: 1.0, "like g1"),
    (exercises.missing_term, "the jump alone", lambda a, t, k: -gn_jump(a, t, k), "true derivative"),
    (exercises.missing_term, "the other sign", lambda a, t, k: gn_jump(a, t, k) * stats.norm.pdf(t), "true derivative"),
    (exercises.missing_term, "of D/n", lambda a, t, k: -plain_jump(a, t, k) * stats.norm.pdf(t), "true derivative"),
]  # fmt: skip


test_a_plausible_wrong_answer_is_refused, test_every_exercise_has_two_wrong_answers = refused(exercises, WRONG)


@pytest.mark.parametrize(
    ("spec", "answer"),
    [
        (exercises.two_jumps, lambda a, t, k: np.array([plain_jump(a, t, k), gn_jump(a, t, k)])),
        (exercises.find_the_bug, gradient),
        (exercises.fold, mirror),
        (exercises.missing_term, lambda a, t, k: -gn_jump(a, t, k) * stats.norm.pdf(t)),
    ],
)
def test_a_right_answer_is_accepted(spec, answer):
    exercise(spec)(answer)


def test_the_inputs_are_worth_asking():
    rng = np.random.default_rng(1)
    for _ in range(200):
        two = exercises.two_jumps.draw(rng)
        assert abs(two["a"] + two["t"]) >= 0.19
        assert 0.2 <= two["k"] <= 0.8 or 1.3 <= two["k"] <= 4
        border = exercises.fold.draw(rng)
        cosine = abs(border["g1"] @ border["w"]) / np.linalg.norm(border["g1"]) / np.linalg.norm(border["w"])
        assert 0.1 < cosine < 0.95
        assert 2 <= border["g1"].size <= 5
