"""Distributions for critics and generators: exact distances against sums, quadrature and sorted samples."""

import math
import re

import numpy as np
import pytest
from scipy import integrate, stats

from helpers.gan_tasks import CRITIC_TASKS, GAN_TASKS, digits_task, scaled_task, swiss_curve

SHIFTS = {"shift 1": [1.0], "comb": [0.2], "shift 5": [5.0, 0.0], "grid": [0.5, 0.0]}


def rng(seed=0):
    return np.random.default_rng(seed)


def softsign(s):
    return s / (1 + np.abs(s))


class TestCriticTasks:
    @pytest.mark.parametrize("name", CRITIC_TASKS)
    def test_shapes_and_names(self, name):
        task = CRITIC_TASKS[name]
        assert task.name == name
        for draw in (task.sample_p, task.sample_q):
            assert draw(7, rng()).shape == (7, task.dimension)
            assert np.array_equal(draw(7, rng(3)), draw(7, rng(3)))
            assert not np.array_equal(draw(7, rng(3)), draw(7, rng(4)))

    @pytest.mark.parametrize("name", SHIFTS)
    def test_a_translation_costs_its_length(self, name):
        """The same random numbers give q = p + m, point by point."""
        task = CRITIC_TASKS[name]
        moved = task.sample_q(500, rng()) - task.sample_p(500, rng())
        np.testing.assert_allclose(moved, np.tile(SHIFTS[name], (500, 1)), atol=1e-12)
        assert task.wasserstein1 == pytest.approx(np.linalg.norm(SHIFTS[name]))

    @pytest.mark.parametrize("name", ["two scales", "ring", "rings"])
    def test_radial_distributions_cost_what_their_radii_cost(self, name):
        task = CRITIC_TASKS[name]
        p, q = task.sample_p(40_000, rng(1)), task.sample_q(40_000, rng(2))
        radii = (np.linalg.norm(p, axis=1), np.linalg.norm(q, axis=1))
        assert stats.wasserstein_distance(*radii) == pytest.approx(task.wasserstein1, abs=0.02)
        for x in (p, q):  # round: no direction is preferred
            np.testing.assert_allclose(x.mean(axis=0), 0, atol=0.05)
            np.testing.assert_allclose(np.cov(x.T) / np.cov(x.T)[0, 0], np.eye(2), atol=0.03)

    def test_what_is_drawn(self):
        one, two = CRITIC_TASKS["rings"].sample_p(1000, rng()), CRITIC_TASKS["rings"].sample_q(1000, rng())
        assert set(np.linalg.norm(one, axis=1).round(9)) == {1.0, 3.0}
        assert set(np.linalg.norm(two, axis=1).round(9)) == {2.0}
        assert set(np.linalg.norm(CRITIC_TASKS["ring"].sample_p(9, rng()), axis=1).round(9)) == {1.0}
        comb, grid = CRITIC_TASKS["comb"].sample_p(4000, rng()), CRITIC_TASKS["grid"].sample_p(4000, rng())
        assert set(comb.round().ravel()) == {-2, -1, 0, 1, 2}
        assert len(np.unique(grid.round(), axis=0)) == 25
        for x in (comb, grid):
            assert (x - x.round()).std() == pytest.approx(0.05, rel=0.05)
        scales = CRITIC_TASKS["two scales"]
        assert scales.sample_p(4000, rng()).std() == pytest.approx(1, rel=0.05)
        assert scales.sample_q(4000, rng()).std() == pytest.approx(2, rel=0.05)

    def test_total_variation_against_quadrature(self):
        normal = stats.norm.pdf
        densities = {
            "shift 1": (lambda x: normal(x), lambda x: normal(x, 1), 8),
            "shift 5": (lambda x: normal(x), lambda x: normal(x, 5), 12),
            "two scales": (lambda r: stats.rayleigh.pdf(r), lambda r: stats.rayleigh.pdf(r, scale=2), 16),
            "comb": (
                lambda x: sum(normal(x, k, 0.05) for k in range(-2, 3)) / 5,
                lambda x: sum(normal(x, k + 0.2, 0.05) for k in range(-2, 3)) / 5,
                3,
            ),
            "grid": (
                lambda x: sum(normal(x, k, 0.05) for k in range(-2, 3)) / 5,
                lambda x: sum(normal(x, k + 0.5, 0.05) for k in range(-2, 3)) / 5,
                3,
            ),
        }
        for name, (p, q, end) in densities.items():
            x = np.linspace(-end, end, 400_001)
            found = integrate.trapezoid(np.abs(p(x) - q(x)), x) / 2
            assert CRITIC_TASKS[name].total_variation == pytest.approx(found, abs=2e-6), name
        assert CRITIC_TASKS["ring"].total_variation == CRITIC_TASKS["rings"].total_variation == 1

    def test_the_best_continuous_value_against_quadrature(self):
        x = np.linspace(-12, 17, 200_001)
        for name, m in (("shift 1", 1), ("shift 5", 5)):
            found = integrate.trapezoid(softsign(m / 2 - x) * (stats.norm.pdf(x) - stats.norm.pdf(x, m)), x)
            assert CRITIC_TASKS[name].best_continuous_gn == pytest.approx(found, rel=1e-6)
        r = np.linspace(0, 20, 200_001)
        difference = stats.rayleigh.pdf(r) - stats.rayleigh.pdf(r, scale=2)
        best = max(integrate.trapezoid(softsign(c - r) * difference, r) for c in np.linspace(2, 2.1, 21))
        assert CRITIC_TASKS["two scales"].best_continuous_gn == pytest.approx(best, rel=1e-4)
        for name in ("ring", "rings"):  # all points half a unit from the edge
            assert CRITIC_TASKS[name].best_continuous_gn == pytest.approx(2 * softsign(0.5))
        assert CRITIC_TASKS["comb"].best_continuous_gn is CRITIC_TASKS["grid"].best_continuous_gn is None


class TestGanTasks:
    def test_mixtures_lie_round_their_centres(self):
        for name, count, std in (("8 Gaussians", 8, 0.1), ("25 Gaussians", 25, 0.05)):
            task = GAN_TASKS[name]
            x = task.sample(8000, rng())
            offsets = x[:, None] - task.centers[None]
            nearest = np.linalg.norm(offsets, axis=2).argmin(axis=1)
            assert (task.name, task.std, task.centers.shape) == (name, std, (count, 2))
            assert offsets[np.arange(8000), nearest].std() == pytest.approx(std, rel=0.03)
            np.testing.assert_allclose(np.bincount(nearest) / 8000, 1 / count, rtol=0.2)
        np.testing.assert_allclose(np.linalg.norm(GAN_TASKS["8 Gaussians"].centers, axis=1), 2)
        assert sorted(map(tuple, GAN_TASKS["25 Gaussians"].centers.tolist())) == [
            (x, y) for x in range(-2, 3) for y in range(-2, 3)
        ]
        angles = np.degrees(np.arctan2(*GAN_TASKS["8 Gaussians"].centers.T[::-1])) % 360
        np.testing.assert_allclose(sorted(angles), np.arange(0, 360, 45), atol=1e-9)

    def test_the_swiss_roll(self):
        t = np.linspace(0, 1, 2001)
        curve = swiss_curve(t)
        np.testing.assert_allclose(np.linalg.norm(curve, axis=1), 2 / 3 + 4 / 3 * t)
        turn = np.unwrap(np.arctan2(curve[:, 1], curve[:, 0]))
        assert turn[-1] - turn[0] == pytest.approx(3 * math.pi)
        x = GAN_TASKS["swiss roll"].sample(500, rng())
        distance = np.linalg.norm(x[:, None] - curve[None], axis=2).min(axis=1)
        assert np.sqrt(np.mean(distance**2)) == pytest.approx(0.05, rel=0.1)

    def test_scaling_multiplies_every_point(self):
        task = GAN_TASKS["8 Gaussians"]
        small = scaled_task(scaled_task(task, 5), 0.5)
        np.testing.assert_allclose(small.sample(9, rng()), 2.5 * task.sample(9, rng()))
        assert small.scale == 2.5
        assert small.std == task.std
        assert task.scale == 1.0

    def test_digits_are_those_of_the_data_set(self):
        from sklearn.datasets import load_digits

        known = {row.tobytes() for row in load_digits().data}
        task = digits_task()
        x = task.sample(300, rng())
        assert (x.min(), x.max(), x.shape, task.dimension, task.centers) == (-1, 1, (300, 64), 64, None)
        assert all(row.tobytes() in known for row in 8 * (x + 1))
        assert len(np.unique(x, axis=0)) > 250
        assert task.name == "digits"

    @pytest.mark.parametrize("factor", [0, -1, math.inf, math.nan, "2"])
    def test_bad_factor(self, factor):
        rule = re.escape(f"factor must be a finite number > 0, got {factor!r}")
        with pytest.raises(ValueError, match=rule):
            scaled_task(GAN_TASKS["swiss roll"], factor)

    def test_bad_number_of_points(self):
        with pytest.raises(ValueError, match="n must be an integer >= 1, got 0"):
            GAN_TASKS["swiss roll"].sample(0, rng())
