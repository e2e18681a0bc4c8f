"""What a right answer to each exercise of notebook 05 must satisfy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, rel_entr

from helpers.lab import Exercise

Array = NDArray[np.float64]
Generator = np.random.Generator


def _logits(rng: Generator) -> dict[str, Any]:
    """Two logits for each of a few texts and labels."""
    return {"z": rng.normal(0, 3, (int(rng.integers(2, 6)), int(rng.integers(2, 5)), 2)).round(2)}


def _joint(rng: Generator) -> Array:
    """Probabilities of a few pairs (row, column), all positive, the rows as unequal as the columns."""
    shape = (int(rng.integers(2, 6)), int(rng.integers(2, 5)))
    weights = rng.gamma(1.0, size=shape) + 0.05
    weights *= rng.uniform(0.2, 1, shape[0])[:, None] * rng.uniform(0.2, 1, shape[1])
    return weights / weights.sum()


def _pmi(joint: Array) -> Array:
    return np.log(joint) - np.log(joint.sum(axis=1, keepdims=True)) - np.log(joint.sum(axis=0))


def _distinct_scores(rng: Generator) -> dict[str, Any]:
    """Scores without ties, and shares of which each gives a whole number of samples."""
    counts = rng.integers(1, 5, size=int(rng.integers(2, 5)))
    n = int(counts.sum())
    return {"scores": rng.normal(0, 2) + rng.permutation(n) + rng.uniform(0, 0.5, n).round(2), "shares": counts / n}


def _ranked(scores: Array, shares: Array) -> Array:
    counts = np.rint(shares * len(scores)).astype(int)
    classes = np.empty(len(scores))
    classes[np.argsort(scores)] = np.repeat(np.arange(len(shares)), counts)
    return classes


def _topics(rng: Generator) -> dict[str, Any]:
    """Topics, what sentences each has, and pairs that hang together by their topic and by something else."""
    topics, sentences = int(rng.integers(2, 4)), int(rng.integers(3, 6))
    prior, given = rng.dirichlet(np.full(topics, 3.0)), rng.dirichlet(np.ones(sentences), size=topics) + 0.02
    given /= given.sum(axis=1, keepdims=True)
    joint = (prior * given.T) @ given * rng.uniform(0.5, 2, (sentences, sentences))
    return {"prior": prior, "given": given, "joint": joint / joint.sum()}


def _close(answer: Any, truth: Array) -> bool:
    answer = np.asarray(answer)
    return answer.shape == truth.shape and np.allclose(answer, truth, rtol=1e-6, atol=1e-9)


find_the_bug = Exercise(
    "Exercise 1: find the bug",
    _logits,
    {
        "one score per text and label": lambda answer, z: np.shape(answer) == z.shape[:2],
        "its sigmoid is the probability of IsNext": lambda answer, z: _close(
            expit(answer), np.exp(z[..., 0]) / np.exp(z).sum(axis=-1)
        ),
    },
)

optimal_score = Exercise(
    "Exercise 2: unequal shares",
    lambda rng: {"joint": _joint(rng), "share": round(float(rng.uniform(0.02, 0.98)), 2)},
    {
        "one score per pair": lambda answer, joint, share: np.shape(answer) == joint.shape,
        "there the derivative of the loss vanishes": lambda answer, joint, share: _close(
            share * joint * expit(-answer), (1 - share) * np.outer(joint.sum(1), joint.sum(0)) * expit(answer)
        ),
    },
)

samples_contrast = Exercise(
    "Exercise 3: cut by shares",
    _distinct_scores,
    {
        "one class per sample": lambda answer, scores, shares: np.shape(answer) == scores.shape,
        "each class has its share of the samples": lambda answer, scores, shares: all(
            np.count_nonzero(np.equal(answer, j)) == round(share * len(scores)) for j, share in enumerate(shares)
        ),
        "a better score never gets a lower class": lambda answer, scores, shares: _close(
            answer, _ranked(scores, shares)
        ),
    },
)

two_parts = Exercise(
    "Exercise 4: what the topic tells",
    _topics,
    {
        "two arrays, one entry per pair each": lambda answer, prior, given, joint: (
            len(answer) == 2 and all(np.shape(part) == joint.shape for part in answer)
        ),
        "together they are the PMI": lambda answer, prior, given, joint: _close(answer[0] + answer[1], _pmi(joint)),
        "the second vanishes where p = m": lambda answer, prior, given, joint: _close(
            np.exp(answer[1]) * ((prior * given.T) @ given), joint
        ),
    },
)

mean_score = Exercise(
    "Exercise 5: what the mean takes away",
    lambda rng: {"joint": _joint(rng)},
    {
        "one number per label": lambda answer, joint: np.shape(answer) == (joint.shape[1],),
        "never positive": lambda answer, joint: bool(np.all(np.asarray(answer) <= 1e-12)),
        "it is minus the divergence of p(x|c) from p(x)": lambda answer, joint: _close(
            answer, -rel_entr(joint.sum(axis=1)[:, None], joint / joint.sum(axis=0)).sum(axis=0)
        ),
    },
)
