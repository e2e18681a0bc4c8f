"""NSP estimates PMI: the fitted logits beside logarithms of mpmath, and exact statements about the toy."""

import re

import mpmath
import numpy as np
import pytest

from helpers.nsp_theory import (
    binary_loss,
    conditional_log_probability,
    fit_binary_logits,
    optimal_scores,
    pmi_matrix,
    sampled_logits,
    topic_chain,
)


def distribution(rng, shape):
    found = rng.gamma(0.5, size=shape) + 1e-6
    return found / found.sum()


def test_toy_is_the_sum_over_topics():
    """Oracle: the sum written out."""
    prior = [0.5, 0.3, 0.2]
    joint, same = topic_chain(3, 4, 0.2, 0.3, prior)
    given = np.full((3, 12), 0.2 / 12)
    for z in range(3):
        given[z, 4 * z : 4 * z + 4] += 0.8 / 4
    for a in range(12):
        for b in range(12):
            follows = b == 4 * (a // 4) + (a % 4 + 1) % 4
            due = sum(p * given[z, a] * (0.7 * given[z, b] + 0.3 * follows) for z, p in enumerate(prior))
            assert joint[a, b] == pytest.approx(due, rel=1e-12)
            assert same[a, b] == pytest.approx(
                sum(p * given[z, a] * given[z, b] for z, p in enumerate(prior)), rel=1e-12
            )
    assert joint.sum() == pytest.approx(1, rel=1e-12)
    np.testing.assert_allclose(joint.sum(axis=0), joint.sum(axis=1), rtol=1e-12)


def test_defaults_of_the_toy():
    joint, same = topic_chain()
    assert joint.shape == (12, 12)
    np.testing.assert_allclose(joint, topic_chain(3, 4, 0.1, 0.0, [1 / 3] * 3)[0], rtol=1e-12)
    np.testing.assert_array_equal(joint, same)


@pytest.mark.parametrize("share", [0.5, 0.2, 0.999])
def test_fitted_logits_are_log_ratios(share):
    """Oracle: mpmath with 30 digits. The ratios cover forty orders of magnitude."""
    rng = np.random.default_rng(0)
    P, Q = (distribution(rng, (5, 4)) for _ in range(2))
    P[0, 0], Q[0, 1] = 1e-20, 1e-20
    P, Q = P / P.sum(), Q / Q.sum()
    with mpmath.workdps(30):
        due = [
            [float(mpmath.log(share * p / ((1 - mpmath.mpf(share)) * q))) for p, q in zip(*rows, strict=True)]
            for rows in zip(P, Q, strict=True)
        ]
    np.testing.assert_allclose(fit_binary_logits(P, Q, share), due, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(optimal_scores(P, Q, share), due, rtol=1e-12, atol=1e-13)


def test_random_negatives_give_pmi_and_the_share_adds_a_constant():
    joint, _ = topic_chain(overlap=0.3, continuity=0.2, prior=[0.6, 0.3, 0.1])
    random = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    np.testing.assert_allclose(fit_binary_logits(joint, random), pmi_matrix(joint), atol=1e-13)
    shift = fit_binary_logits(joint, random, 0.1) - pmi_matrix(joint)
    np.testing.assert_allclose(shift, np.log(0.1 / 0.9), atol=1e-13)


def test_sop_and_hard_negatives_in_the_toy():
    joint, same = topic_chain(overlap=0.3, continuity=0.0)
    assert np.abs(fit_binary_logits(joint, joint.T)).max() < 1e-13
    assert np.abs(fit_binary_logits(joint, same)).max() < 1e-13
    joint, same = topic_chain(overlap=0.3, continuity=0.4)
    sop = fit_binary_logits(joint, joint.T)
    np.testing.assert_allclose(sop, -sop.T, atol=1e-13)
    assert np.abs(sop).max() > 1
    blocks = np.kron(np.eye(3), np.ones((4, 4))) == 1
    assert np.abs(sop[~blocks]).max() < 1e-13  # a symmetric part, such as the topic, is not in it
    hard = fit_binary_logits(joint, same)
    np.testing.assert_allclose(hard[~blocks], np.log(0.6), atol=1e-13)  # the same for all other topics


def test_masked_language_model_adds_the_prior():
    joint, _ = topic_chain(overlap=0.3, prior=[0.6, 0.3, 0.1])
    found = conditional_log_probability(joint)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(
        found - pmi_matrix(joint), np.broadcast_to(np.log(joint.sum(axis=0)), (12, 12)), atol=1e-13
    )


def test_pmi_by_hand():
    found = pmi_matrix([[0.2, 0.1], [0.0, 0.7]])
    np.testing.assert_allclose(found[0], [np.log(0.2 / 0.3 / 0.2), np.log(0.1 / 0.3 / 0.8)], rtol=1e-12)
    assert found[1, 0] == -np.inf


def test_loss_is_least_at_the_fit_and_is_its_expectation():
    rng = np.random.default_rng(1)
    P, Q = distribution(rng, (3, 3)), distribution(rng, (3, 3))
    s = fit_binary_logits(P, Q, 0.3)
    q = 1 / (1 + np.exp(-s))
    due = -(0.3 * P * np.log(q) + 0.7 * Q * np.log(1 - q)).sum()
    assert binary_loss(s, P, Q, 0.3) == pytest.approx(due, rel=1e-12)
    for _ in range(20):
        assert binary_loss(s + 0.1 * rng.normal(size=s.shape), P, Q, 0.3) > binary_loss(s, P, Q, 0.3)
    assert binary_loss(np.zeros((3, 3)), P, Q) == pytest.approx(np.log(2))
    assert binary_loss([[800.0]], [[1.0]], [[1.0]]) == 400


def test_pairs_without_mass():
    found = fit_binary_logits([[0.5, 0.5, 0.0, 0.0]], [[0.5, 0.0, 0.5, 0.0]])
    assert found[0, :3].tolist() == [0, np.inf, -np.inf]
    assert np.isnan(found[0, 3])


def test_samples_come_near_at_the_usual_rate():
    """Oracle: the exact logits; the error falls with the square root of the number of pairs."""
    joint, _ = topic_chain(topics=2, sentences=2, overlap=0.4, prior=[0.7, 0.3])
    random = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    rng = np.random.default_rng(0)
    errors = []
    for pairs in (10**3, 10**5):
        gaps = [sampled_logits(joint, random, pairs, rng) - pmi_matrix(joint) for _ in range(30)]
        errors.append(np.sqrt(np.mean(np.square(gaps))))
    assert errors[1] < 0.03
    assert 7 < errors[0] / errors[1] < 14
    uneven = sampled_logits(joint, random, 10**6, rng, share=0.2) - pmi_matrix(joint)
    np.testing.assert_allclose(uneven, np.log(0.25), atol=0.1)
    few = sampled_logits(joint, random, 1, np.random.default_rng(0))
    assert sorted(set(np.abs(few).ravel().round(12))) == [0, round(np.log(3), 12)]  # one count of 1 + 1/2 over 1/2


NO_LAW = "must be >= 0 with sum 1, got least"
EMPTY = "joint must have no empty row or column, since PMI divides by their sums"
ONE, TWO = [[1.0]], [[0.5, 0.5]]
BAD = {
    "topics": (lambda: topic_chain(topics=1), "topics must be an integer >= 2, got 1"),
    "sentences": (lambda: topic_chain(sentences=0), "sentences must be an integer >= 1, got 0"),
    "overlap": (lambda: topic_chain(overlap=1.1), "overlap must be in [0, 1], got 1.1"),
    "negative overlap": (lambda: topic_chain(overlap=-0.1), "overlap must be in [0, 1], got -0.1"),
    "continuity": (lambda: topic_chain(continuity=1.0), "continuity must be in [0, 1), got 1.0"),
    "negative continuity": (lambda: topic_chain(continuity=-0.1), "continuity must be in [0, 1), got -0.1"),
    "short prior": (lambda: topic_chain(prior=[0.5, 0.5]), "prior must have 3 entries, one per topic, got 2"),
    "no prior": (lambda: topic_chain(prior=[0.5, 0.5, 0.5]), f"prior {NO_LAW} 0.5 and sum 1.5"),
    "PMI of counts": (lambda: pmi_matrix([[2.0, 1.0]]), f"joint {NO_LAW} 1 and sum 3"),
    "PMI, below 0": (lambda: pmi_matrix([[1.5, -0.5]]), f"joint {NO_LAW} -0.5 and sum 1"),
    "PMI, empty row": (lambda: pmi_matrix([[0.5, 0.5], [0, 0]]), EMPTY),
    "PMI, empty column": (lambda: pmi_matrix([[0.5, 0], [0.5, 0]]), EMPTY),
    "share 0": (lambda: fit_binary_logits(ONE, ONE, 0), "share must be in (0, 1), got 0"),
    "share 1": (lambda: optimal_scores(ONE, ONE, 1), "share must be in (0, 1), got 1"),
    "positives": (lambda: fit_binary_logits([[0.9]], ONE), f"positives {NO_LAW} 0.9 and sum 0.9"),
    "negatives": (lambda: fit_binary_logits(ONE, [[0.9]]), f"negatives {NO_LAW} 0.9 and sum 0.9"),
    "shapes": (
        lambda: fit_binary_logits(ONE, TWO),
        "negatives must have the shape of positives, (1, 1), got (1, 2)",
    ),
    "logits": (
        lambda: binary_loss([[1.0, 1.0]], ONE, ONE),
        "logits must have the shape of positives, (1, 1), got (1, 2)",
    ),
    "NaN logits": (lambda: binary_loss([[np.nan]], ONE, ONE), "logits must be finite, got 1 NaN or infinite value(s)"),
    "zero P": (lambda: optimal_scores([[1.0, 0]], TWO), "positives must be > 0 everywhere, got 0 in 1 pair(s)"),
    "zero Q": (lambda: optimal_scores(TWO, [[1.0, 0]]), "negatives must be > 0 everywhere, got 0 in 1 pair(s)"),
    "no pairs": (
        lambda: sampled_logits(ONE, ONE, 0, np.random.default_rng(0)),
        "pairs must be an integer >= 1, got 0",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
