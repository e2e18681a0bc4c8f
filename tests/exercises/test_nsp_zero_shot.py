"""Plausible wrong answers to the exercises of notebook 05 must be refused, each for the right reason."""

import numpy as np
import pytest
from scipy.special import softmax

from helpers.exercises import nsp_zero_shot as exercises
from helpers.lab import exercise
from tests.wrong_answers import refused


def pmi(joint):
    return np.log(joint / np.outer(joint.sum(axis=1), joint.sum(axis=0)))


def mixture(prior, given):
    return np.einsum("k,ka,kb->ab", prior, given, given)


def cut_equally(scores, shares):
    return np.argsort(np.argsort(scores)) * len(shares) // len(scores)


def by_shares(scores, shares, sign=1):
    classes = np.empty(len(scores), dtype=int)
    classes[np.argsort(sign * scores)] = np.repeat(np.arange(len(shares)), np.rint(shares * len(scores)).astype(int))
    return classes


def parts(prior, given, joint):
    p, m = np.outer(joint.sum(axis=1), joint.sum(axis=0)), mixture(prior, given)
    return np.log(m / p), np.log(joint / m)


WRONG = [
    (exercises.find_the_bug, "the other column", lambda z: z[..., 1] - z[..., 0], "probability of IsNext"),
    (exercises.find_the_bug, "the probability itself", lambda z: softmax(z, axis=-1)[..., 0], "probability of IsNext"),
    (exercises.find_the_bug, "one logit", lambda z: z[..., 0], "probability of IsNext"),
    (exercises.find_the_bug, "both logits kept", lambda z: softmax(z, axis=-1), "one score per text and label"),
    (exercises.optimal_score, "equal shares", lambda joint, share: pmi(joint), "derivative"),
    (exercises.optimal_score, "the share the wrong way round",
     lambda joint, share: pmi(joint) + np.log((1 - share) / share), "derivative"),
    (exercises.optimal_score, "no negatives", lambda joint, share: np.log(share * joint), "derivative"),
    (exercises.optimal_score, "one number", lambda joint, share: pmi(joint).sum(), "one score per pair"),
    (exercises.samples_contrast, "equal shares", cut_equally, "its share"),
    (exercises.samples_contrast, "best to worst",
     lambda scores, shares: by_shares(scores, shares, sign=-1), "never gets a lower class"),
    (exercises.samples_contrast, "in the order of the samples",
     lambda scores, shares: np.sort(by_shares(scores, shares)), "never gets a lower class"),
    (exercises.samples_contrast, "thresholds",
     lambda scores, shares: np.quantile(scores, np.cumsum(shares)[:-1]), "one class per sample"),
    (exercises.two_parts, "the two exchanged",
     lambda prior, given, joint: parts(prior, given, joint)[::-1], "vanishes"),
    (exercises.two_parts, "equal priors",
     lambda prior, given, joint: parts(np.full(len(prior), 1 / len(prior)), given, joint), "vanishes"),
    (exercises.two_parts, "everything in one",
     lambda prior, given, joint: (pmi(joint), 0 * joint), "vanishes"),
    (exercises.two_parts, "the second only", lambda prior, given, joint: parts(prior, given, joint)[1], "two arrays"),
    (exercises.two_parts, "without the margins",
     lambda prior, given, joint: (np.log(mixture(prior, given)), parts(prior, given, joint)[1]), "together"),
    (exercises.mean_score, "mean under the pairs",
     lambda joint: (joint / joint.sum(axis=0) * pmi(joint)).sum(axis=0), "never positive"),
    (exercises.mean_score, "every text once", lambda joint: pmi(joint).mean(axis=0), "divergence|never positive"),
    (exercises.mean_score, "one number per text",
     lambda joint: np.append(joint.sum(axis=0) @ pmi(joint).T, [0] * joint.shape[1]), "one number per label"),
]  # fmt: skip


test_a_plausible_wrong_answer_is_refused, test_every_exercise_has_two_wrong_answers = refused(exercises, WRONG)


def test_right_answers_of_another_form_are_accepted():
    exercise(exercises.samples_contrast)(lambda scores, shares: by_shares(scores, shares).tolist())
    exercise(exercises.two_parts)(lambda prior, given, joint: np.array(parts(prior, given, joint)))
    exercise(exercises.find_the_bug)(lambda z: -np.diff(z, axis=-1)[..., 0])


class TestDrawnInputs:
    def draws(self, spec):
        rng = np.random.default_rng(1)
        return [spec.draw(rng) for _ in range(50)]

    def test_probabilities_sum_to_one_and_are_not_symmetric(self):
        for spec in (exercises.optimal_score, exercises.mean_score, exercises.two_parts):
            for given in self.draws(spec):
                assert np.isclose(given["joint"].sum(), 1)
                assert (given["joint"] > 0).all()
                assert np.abs(pmi(given["joint"])).max() > 0.05

    def test_shares_are_whole_numbers_of_samples_and_scores_differ(self):
        for given in self.draws(exercises.samples_contrast):
            counts = given["shares"] * len(given["scores"])
            assert np.allclose(counts, counts.round())
            assert len(set(given["scores"])) == len(given["scores"])
            assert np.isclose(given["shares"].sum(), 1)

    @pytest.mark.parametrize(
        ("spec", "shape", "sizes"),
        [
            (exercises.find_the_bug, lambda given: given["z"].shape, [{2, 3, 4, 5}, {2, 3, 4}, {2}]),
            (exercises.mean_score, lambda given: given["joint"].shape, [{2, 3, 4, 5}, {2, 3, 4}]),
            (exercises.optimal_score, lambda given: given["joint"].shape, [{2, 3, 4, 5}, {2, 3, 4}]),
            (exercises.samples_contrast, lambda given: given["shares"].shape, [{2, 3, 4}]),
            (exercises.two_parts, lambda given: given["given"].shape, [{2, 3}, {3, 4, 5}]),
        ],
    )
    def test_sizes_are_small_and_differ(self, spec, shape, sizes):
        assert [set(axis) for axis in zip(*map(shape, self.draws(spec)), strict=True)] == sizes

    def test_draws_are_short_to_read_and_on_both_sides_of_zero(self):
        logits = np.concatenate([given["z"].ravel() for given in self.draws(exercises.find_the_bug)])
        assert (logits == logits.round(2)).all()
        assert abs(logits.mean()) < 0.5
        assert 2.5 < logits.std() < 3.5
        counts = [given["shares"] * len(given["scores"]) for given in self.draws(exercises.samples_contrast)]
        assert set(np.concatenate(counts).round()) == {1, 2, 3, 4}
        assert all(given["share"] == round(given["share"], 2) for given in self.draws(exercises.optimal_score))

    def test_topics_are_distributions(self):
        for given in self.draws(exercises.two_parts):
            assert np.allclose(given["given"].sum(axis=1), 1)
            assert np.isclose(given["prior"].sum(), 1)
