"""Plausible wrong answers to the exercises of notebook 02 must be refused, each for the right reason."""

import math

import torch

from helpers import contrastive as cl
from helpers.exercises import contrastive as exercises
from helpers.lab import exercise
from tests.wrong_answers import refused


def multiplied_away(scores, target):
    kept = torch.ones_like(scores).scatter(1, target[:, None], 0.0)
    return (scores * kept).logsumexp(1) - scores.gather(1, target[:, None])[:, 0]


def pull_by_subtraction(scores, target):
    return 1 - torch.softmax(scores, dim=1).gather(1, target[:, None])[:, 0]


def share(values):
    return values / values.sum()


WRONG = [
    (exercises.smallest_cosine_gap, "the gap of the scores",
     lambda temperature, negatives: math.log(negatives * 2**24), "equation \\(4\\)"),
    (exercises.smallest_cosine_gap, "23 stored bits instead of 24",
     lambda temperature, negatives: temperature * math.log(negatives * 2**23), "equation \\(4\\)"),
    (exercises.smallest_cosine_gap, "the positive counted as a negative",
     lambda temperature, negatives: temperature * math.log((negatives + 1) * 2**24), "equation \\(4\\)"),
    (exercises.find_the_bug, "the bug left in", multiplied_away, "minus the score of the positive"),
    (exercises.find_the_bug, "the positive left in the sum",
     lambda scores, target: cl.info_nce(scores, target, reduction="none"), "minus the score of the positive"),
    (exercises.find_the_bug, "from the rounded InfoNCE",
     lambda scores, target: torch.expm1(torch.nn.functional.cross_entropy(scores, target, reduction="none")).log(),
     "minus the score of the positive"),
    (exercises.find_the_bug, "exponentials before the sum",
     lambda scores, target: (scores.exp().scatter(1, target[:, None], 0.0).sum(1)).log()
     - scores.gather(1, target[:, None])[:, 0], "minus the score of the positive"),
    (exercises.find_the_bug, "the mean instead of the rows",
     lambda scores, target: cl.flat_nce(scores, target), "one number per row"),
    (exercises.anchor_weights, "the two exchanged",
     lambda xi: (torch.full_like(xi, 1 / len(xi)), share(xi / (1 + xi))), "by its pull"),
    (exercises.anchor_weights, "weights by xi",
     lambda xi: (share(xi), torch.full_like(xi, 1 / len(xi))), "by its pull"),
    (exercises.anchor_weights, "not divided by the sum", lambda xi: (xi / (1 + xi), torch.ones_like(xi)), "sum to 1"),
    (exercises.anchor_weights, "FlatNCE by 1/xi", lambda xi: (share(xi / (1 + xi)), share(1 / xi)), "same weight"),
    (exercises.exact_pull, "one minus the probability", pull_by_subtraction, "relative error"),
    (exercises.exact_pull, "xi itself", lambda scores, target: cl.log_xi(scores, target).exp(), "relative error"),
    (exercises.exact_pull, "in float64",
     lambda scores, target: torch.sigmoid(cl.log_xi(scores.double(), target)), "float32"),
    (exercises.exact_pull, "a column", lambda scores, target: pull_by_subtraction(scores, target)[:, None], "per row"),
]  # fmt: skip


test_a_plausible_wrong_answer_is_refused, test_every_exercise_has_two_wrong_answers = refused(exercises, WRONG)


def test_weights_may_be_arrays():
    exercise(exercises.anchor_weights)(
        lambda xi: (share(xi / (1 + xi)).numpy(), torch.full_like(xi, 1 / len(xi)).numpy())
    )
