"""What next-sentence prediction estimates: pointwise mutual information, and what is left of it with other negatives.

Article: Su Jianlin, https://kexue.fm/archives/8671 (10 Sep 2021), without a formula; this derivation is ours. It is
that of noise-contrastive estimation (Gutmann & Hyvärinen 2012) and of word2vec's negatives (Levy & Goldberg 2014).
NSP: Devlin et al. 2019, arXiv:1810.04805. SOP: Lan et al. 2020 (ALBERT), arXiv:1909.11942.

NSP classifies pairs (a, b) as drawn from positives P with the share π, or from negatives Q. The best logit of a pair is
s*(a, b) = log P(a, b) / Q(a, b) + log π / (1 - π): for Q = p(a) p(b) the PMI, for Q = P with a and b swapped (SOP) its
antisymmetric part alone. With b from another text of the same topic, it is the information beyond the topic.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from helpers.inputs import Array, checked_integer, checked_number, checked_rows


def topic_chain(
    topics: int = 3,
    sentences: int = 4,
    overlap: float = 0.1,
    continuity: float = 0.0,
    prior: ArrayLike | None = None,
) -> tuple[Array, Array]:
    """P(a, b) of neighbouring sentences, and of two sentences of one topic from different texts; both [N, N].

    A text has a topic z. Its sentence a comes from p(a | z): with the probability `overlap` any of the N sentences,
    else one of the topic's own. With the probability `continuity` the next sentence is the successor of a in
    the cycle of the sentences that a belongs with, else a fresh one of the topic:
    P(a, b) = sum_z p(z) p(a | z) [(1 - continuity) p(b | z) + continuity 1{b = successor of a}].

    Parameters
    ----------
    topics, sentences : T >= 2 topics with >= 1 own sentences each, so N = T * sentences.
    overlap : in [0, 1]. 0: no sentence belongs to two topics; 1: topics mean nothing.
    continuity : in [0, 1). Without it, neighbours are independent given their topic.
    prior : p(z), [T], by default 1 / T each.

    Raises
    ------
    ValueError : an argument out of range, a prior of another length or none.

    >>> joint, same_topic = topic_chain(topics=2, sentences=1, overlap=0.0)
    >>> joint.tolist(), bool((joint == same_topic).all())
    ([[0.5, 0.0], [0.0, 0.5]], True)
    """
    topics, sentences = checked_integer("topics", topics, 2), checked_integer("sentences", sentences, 1)
    overlap = checked_number("overlap", overlap, "in [0, 1]", lambda value: 0 <= value <= 1)
    continuity = checked_number("continuity", continuity, "in [0, 1)", lambda value: 0 <= value < 1)
    [weights] = np.full((1, topics), 1 / topics) if prior is None else _checked_distribution("prior", [prior])
    if len(weights) != topics:
        raise ValueError(f"prior must have {topics} entries, one per topic, got {len(weights)}")
    total = topics * sentences
    given = (1 - overlap) * np.kron(np.eye(topics), np.full(sentences, 1 / sentences)) + overlap / total  # p(a | z)
    successor = np.kron(np.eye(topics), np.roll(np.eye(sentences), 1, axis=1))
    same_topic = given.T @ (weights[:, None] * given)
    return (1 - continuity) * same_topic + continuity * (weights @ given)[:, None] * successor, same_topic


def pmi_matrix(joint: ArrayLike) -> Array:
    """log p(a, b) / (p(a) p(b)), [K, L], from p(a, b); -inf where p(a, b) = 0.

    Parameters
    ----------
    joint : [K, L], >= 0, sum 1, no empty row or column.

    Raises
    ------
    ValueError : joint is none.

    >>> pmi_matrix([[0.5, 0.0], [0.0, 0.5]]).round(3).tolist()
    [[0.693, -inf], [-inf, 0.693]]
    """
    joint = _checked_distribution("joint", joint)
    rows, columns = joint.sum(axis=1), joint.sum(axis=0)
    if rows.min() == 0 or columns.min() == 0:
        raise ValueError("joint must have no empty row or column, since PMI divides by their sums")
    with np.errstate(divide="ignore"):
        return np.log(joint) - np.log(rows)[:, None] - np.log(columns)


def conditional_log_probability(joint: ArrayLike) -> Array:
    """log p(b | a) = PMI(a, b) + log p(b), [K, L]: what a masked language model is trained for, prior of b included.

    Parameters and errors are those of `pmi_matrix`.

    >>> conditional_log_probability([[0.5, 0.25], [0.125, 0.125]]).round(3).tolist()
    [[-0.405, -1.099], [-0.693, -0.693]]
    """
    return pmi_matrix(joint) + np.log(np.asarray(joint, dtype=np.float64).sum(axis=0))


def binary_loss(logits: ArrayLike, positives: ArrayLike, negatives: ArrayLike, share: float = 0.5) -> float:
    """-π E_P log σ(s) - (1 - π) E_Q log σ(-s), in nats: the expected loss of next-sentence prediction.

    Parameters
    ----------
    logits : s, [K, L].
    positives, negatives : P and Q, [K, L], each >= 0 with sum 1.
    share : π in (0, 1), share of positives.

    Raises
    ------
    ValueError : shapes that differ, no distributions, bad share.

    >>> round(binary_loss([[0.0, 0.0]], [[0.5, 0.5]], [[1.0, 0.0]]), 4)
    0.6931
    """
    positives, negatives = _checked_pair(positives, negatives, share)
    logits = checked_rows("logits", logits)
    if logits.shape != positives.shape:
        raise ValueError(f"logits must have the shape of positives, {positives.shape}, got {logits.shape}")
    nats = share * positives * np.logaddexp(0, -logits) + (1 - share) * negatives * np.logaddexp(0, logits)
    return float(nats.sum())


def optimal_scores(positives: ArrayLike, negatives: ArrayLike, share: float = 0.5) -> Array:
    """log(π P) - log((1 - π) Q), [K, L]: the logit of the posterior probability that a pair is a positive one.

    Parameters
    ----------
    positives, negatives, share : as in `binary_loss`, and P, Q > 0.

    Raises
    ------
    ValueError : as `binary_loss`; a pair without mass.

    >>> optimal_scores([[0.75, 0.25]], [[0.25, 0.75]]).round(4).tolist()
    [[1.0986, -1.0986]]
    """
    positives, negatives = _checked_pair(positives, negatives, share)
    for name, array in (("positives", positives), ("negatives", negatives)):
        if array.min() == 0:
            raise ValueError(f"{name} must be > 0 everywhere, got 0 in {np.count_nonzero(array == 0)} pair(s)")
    return np.log(positives) - np.log(negatives) + np.log(share) - np.log1p(-share)


def fit_binary_logits(positives: ArrayLike, negatives: ArrayLike, share: float = 0.5) -> Array:
    """The logits [K, L] that minimise `binary_loss`, one free number per pair, by Newton's method from 0.

    The loss does not know log P/Q: it is what it finds. In each pair the steps never pass the minimum, for the slope of
    the loss is concave beyond 0.

    Parameters
    ----------
    positives, negatives, share : as in `binary_loss`.

    Returns
    -------
    s : +inf where negatives have no mass, -inf where positives have none, NaN where neither has: there the loss says
        nothing, and a network extrapolates.

    Raises
    ------
    ValueError : as `binary_loss`.

    >>> fit_binary_logits([[0.75, 0.25]], [[0.25, 0.75]]).round(4).tolist()
    [[1.0986, -1.0986]]
    """
    positives, negatives = _checked_pair(positives, negatives, share)
    p, q = share * positives, (1 - share) * negatives
    both = (p > 0) & (q > 0)
    s = np.where(both, 0.0, np.where(p > 0, np.inf, np.where(q > 0, -np.inf, np.nan)))
    p, q = p[both], q[both]
    found = np.zeros_like(p)
    for _ in range(1000):
        step = (p / expit(found) - q / expit(-found)) / (p + q)  # slope over curvature, without their common factors
        found += step
        if np.abs(step).max(initial=0) <= 1e-14:
            break
    s[both] = found
    return s


def sampled_logits(
    positives: ArrayLike, negatives: ArrayLike, pairs: int, rng: np.random.Generator, share: float = 0.5
) -> Array:
    """`fit_binary_logits` from so many sampled pairs, [K, L]: log of the ratio of the counts, each + 1/2.

    The half keeps pairs that were seen on one side only finite, and takes most of the bias of the logarithm away.

    Parameters
    ----------
    positives, negatives, share : as in `binary_loss`.
    pairs : n >= 1, of which a binomial number is positive.
    rng : of the pairs.

    Raises
    ------
    ValueError : as `binary_loss`; bad pairs.

    >>> sampled_logits([[0.75, 0.25]], [[0.25, 0.75]], 10**6, np.random.default_rng(0)).round(1).tolist()
    [[1.1, -1.1]]
    """
    positives, negatives = _checked_pair(positives, negatives, share)
    n = rng.binomial(checked_integer("pairs", pairs, 1), share)
    drawn = ((n, positives), (pairs - n, negatives))
    seen = [rng.multinomial(m, law.ravel() / law.sum()).reshape(law.shape) for m, law in drawn]
    return np.log(seen[0] + 0.5) - np.log(seen[1] + 0.5)


def _checked_pair(positives: ArrayLike, negatives: ArrayLike, share: float) -> tuple[Array, Array]:
    checked_number("share", share, "in (0, 1)", lambda value: 0 < value < 1)
    positives, negatives = _checked_distribution("positives", positives), _checked_distribution("negatives", negatives)
    if positives.shape != negatives.shape:
        raise ValueError(f"negatives must have the shape of positives, {positives.shape}, got {negatives.shape}")
    return positives, negatives


def _checked_distribution(name: str, value: ArrayLike) -> Array:
    array = checked_rows(name, value)
    if array.min() < 0 or abs(array.sum() - 1) > 1e-9:
        raise ValueError(f"{name} must be >= 0 with sum 1, got least {array.min():.3g} and sum {array.sum():.12g}")
    return array
