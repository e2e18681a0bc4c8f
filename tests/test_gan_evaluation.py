"""Judges of critics and samples against hand-made critics, SciPy and brute force; packing of arrays as text."""

import base64
import math

import numpy as np
import pytest
import torch
from scipy import linalg
from torch import nn

from helpers import gan_evaluation
from helpers.gan_critics import make_critic
from helpers.gan_evaluation import (
    autograd_gap,
    digits_features,
    estimate_distance,
    frechet_distance,
    judge_critic,
    judge_samples,
    swiss_coverage,
)
from helpers.gan_snapshots import pack, pack_critic, unpack, unpack_critic
from helpers.gan_tasks import CRITIC_TASKS, GAN_TASKS, digits_task, scaled_task, swiss_curve

SHIFT = CRITIC_TASKS["shift 1"]


def straight(*slopes, scheme="none"):
    """Critics slope·x + 3 on the line, one per slope."""
    critic = make_critic(range(len(slopes)), 1, scheme, hidden=())
    critic.network.weights[0].data = torch.tensor(slopes)[:, None, None]
    critic.network.biases[0].data.fill_(3)
    return critic.network.requires_grad_(False) and critic


def bent(scheme):
    """D = 0.8 + x + 1.5 relu(x - 0.3) for x > -9, from two LeakyReLUs of which one is always on."""
    critic = make_critic([0], 1, scheme, hidden=(2,), dtype=torch.float64)
    weights, biases = critic.network.weights, critic.network.biases
    weights[0].data = torch.tensor([[[1.0, 1.0]]], dtype=torch.float64)
    biases[0].data = torch.tensor([[[-0.3, 9.0]]], dtype=torch.float64)
    weights[1].data = torch.tensor([[[1.875], [0.625]]], dtype=torch.float64)  # slopes .2·1.875+.625 = 1, then 2.5
    biases[1].data = torch.tensor([[[1.1 - 0.625 * 9.3]]], dtype=torch.float64)
    return critic


class TestCritics:
    def test_estimate_is_the_difference_of_means(self):
        ring = CRITIC_TASKS["two scales"]
        critic = make_critic([4, 6], 2, "none", hidden=[5], dtype=torch.float64)
        p, q = (torch.from_numpy(draw(50, np.random.default_rng([2, 5]))) for draw in (ring.sample_p, ring.sample_q))
        found = estimate_distance(critic, ring, 50, seed=2)
        for k in (0, 1):
            single = critic.network.single(k)
            assert found[k] == pytest.approx(float(single(p).mean() - single(q).mean()))
        assert found.dtype == np.float64
        assert estimate_distance(critic, ring)[0] == estimate_distance(critic, ring, 5000, 0)[0]
        assert judge_critic(critic, ring)["honest"][0] == judge_critic(critic, ring, 5000, 0)["honest"][0]

    def test_common_random_numbers_leave_no_noise_in_a_translation(self):
        np.testing.assert_allclose(estimate_distance(straight(-1.0, 2.0), SHIFT, 3), [1, -2], rtol=1e-6)

    def test_an_honest_critic_stays_honest_when_it_is_scaled(self):
        found = judge_critic(straight(-1.0, -3.0, 2.0), SHIFT, 2000)
        np.testing.assert_allclose(found["largest_norm"], [1, 3, 2], rtol=1e-6)
        np.testing.assert_allclose(found["largest_quotient"], [1, 3, 2], rtol=1e-6)
        np.testing.assert_allclose(found["honest"] / found["honest"][0], [1, 1, -1], rtol=1e-6)
        np.testing.assert_allclose(found["ratio"], [1, 3, -2], rtol=1e-6)
        np.testing.assert_array_equal(found["estimate"], estimate_distance(straight(-1.0, -3.0, 2.0), SHIFT, 2000))
        comb = CRITIC_TASKS["comb"]
        found = judge_critic(straight(-1.0), comb, 2000)
        assert found["estimate"] / found["ratio"] == pytest.approx(0.2)
        assert found["honest"] == pytest.approx(found["ratio"], rel=1e-6)

    def test_the_network_is_left_as_it_was(self):
        critic = straight(-1.0)
        judge_critic(critic, SHIFT, 20)
        assert critic.network.weights[0].dtype == torch.float32

    @pytest.mark.parametrize(
        ("scheme", "jump"),
        [
            ("GN", 1.1 / 3.6 - 1.1 / 2.1),
            ("plain", 1.1 / 2.5 - 1.1),
            ("GraN", 1.1 * (2.5 / 6.35 - 1 / 1.1)),
            ("none", 0),
        ],
    )
    def test_a_jump_is_seen_by_quotients_alone(self, scheme, jump):
        """At the bend D = 1.1 while the slope goes from 1 to 2.5: the jump is in closed form."""
        found = judge_critic(bent(scheme), SHIFT, 4000)
        assert found["largest_norm"][0] == pytest.approx({"none": 2.5}.get(scheme, 1), abs=0.1)
        quotient = found["largest_quotient"][0]
        assert abs(quotient - abs(jump) / 0.01) < 1.01 if jump else quotient == pytest.approx(2.5)
        expected = found["ratio"] / max(found["largest_norm"][0], quotient)
        np.testing.assert_allclose(found["honest"], expected)

    def test_mixtures_are_looked_at_too(self):
        """p at 0 and q at 1: the bend lies at 0.3, with slope 2.5 beyond; left of it the slope is 1 everywhere."""
        narrow = SHIFT._replace(sample_p=lambda n, rng: np.zeros((n, 1)), sample_q=lambda n, rng: np.ones((n, 1)))
        assert judge_critic(bent("none"), narrow, 200)["largest_norm"][0] == pytest.approx(2.5)
        left = SHIFT._replace(sample_p=lambda n, rng: np.full((n, 1), -1.0), sample_q=lambda n, rng: np.zeros((n, 1)))
        assert judge_critic(bent("none"), left, 200)["largest_norm"][0] == pytest.approx(1)

    def test_the_seed_decides_the_points(self):
        """Between 0 and 1 GN's local norm is another one at every mixture, and largest at the one nearest the bend."""
        narrow = SHIFT._replace(sample_p=lambda n, rng: np.zeros((n, 1)), sample_q=lambda n, rng: np.ones((n, 1)))
        one, again, other = (judge_critic(bent("GN"), narrow, 5, seed)["largest_norm"][0] for seed in (1, 1, 2))
        assert one == again != other
        one, again, other = (judge_critic(bent("GN"), SHIFT, 50, seed)["largest_quotient"][0] for seed in (1, 1, 2))
        assert one == again != other

    def test_bad_input(self):
        for judge in (judge_critic, estimate_distance):
            with pytest.raises(ValueError, match="n must be an integer >= 1, got 0"):
                judge(straight(1.0), SHIFT, 0)
            with pytest.raises(ValueError, match="seed must be an integer >= 0, got -1"):
                judge(straight(1.0), SHIFT, 5, -1)


class TestSamples:
    @pytest.mark.parametrize("scale", [1.0, 5.0])
    @pytest.mark.parametrize(("name", "modes"), [("8 Gaussians", 8), ("25 Gaussians", 25), ("swiss roll", 20)])
    def test_real_points_are_perfect_at_any_scale(self, name, modes, scale):
        task = scaled_task(GAN_TASKS[name], scale)
        rngs = np.random.default_rng([3, 6]), np.random.default_rng(0)
        real = torch.from_numpy(np.stack([task.sample(400, rng) for rng in rngs]))
        found = judge_samples(real, task, seed=3)
        assert found["wasserstein1"][0] == pytest.approx(0, abs=1e-12)
        assert 0.05 < found["wasserstein1"][1] < 0.4
        np.testing.assert_array_equal(found["modes"], modes)
        assert found["quality"].min() > 0.95
        shifted = judge_samples(real + scale * torch.tensor([0.0, 9.0]), task, seed=3)
        assert shifted["wasserstein1"][0] == pytest.approx(9)
        np.testing.assert_array_equal(shifted["modes"], 0)
        np.testing.assert_array_equal(shifted["quality"], 0)

    def test_one_mode(self):
        task = GAN_TASKS["8 Gaussians"]
        found = judge_samples(torch.tensor(task.centers[:1]).repeat(2, 60, 1), task)
        np.testing.assert_array_equal(found["modes"], 1)
        np.testing.assert_array_equal(found["quality"], 1)
        assert found["modes"].dtype == np.float64
        zeros = torch.zeros(1, 9, 2)
        assert judge_samples(zeros, task)["wasserstein1"] == judge_samples(zeros, task, 0)["wasserstein1"]

    @pytest.mark.parametrize("shape", [(5, 2), (1, 5, 3), (2, 0, 2)])
    def test_bad_shape(self, shape):
        with pytest.raises(ValueError, match="samples must"):
            judge_samples(torch.zeros(shape), GAN_TASKS["8 Gaussians"])
        with pytest.raises(ValueError, match=r"samples must be \(S, n, 2\) of a task in the plane, got .*'digits'"):
            judge_samples(torch.zeros(1, 5, 64), digits_task())
        with pytest.raises(ValueError, match="samples must be finite"):
            judge_samples(torch.full((1, 5, 2), math.nan), GAN_TASKS["8 Gaussians"])
        with pytest.raises(ValueError, match="seed must be an integer >= 0, got -1"):
            judge_samples(torch.zeros(1, 5, 2), GAN_TASKS["8 Gaussians"], -1)

    def test_parts_of_the_swiss_roll(self):
        middles = swiss_curve((np.arange(20) + 0.5) / 20)
        for k in range(20):
            assert swiss_coverage(middles[k : k + 1]) == (1, 1.0)
        for repeats, modes in ((79, 2), (80, 1)):  # a fair share of 81 is above 4, a quarter of it above 1
            points = np.concatenate([np.repeat(middles[:1], repeats, axis=0), middles[1:2]])
            assert swiss_coverage(points) == (modes, 1.0)
        outward = middles / np.linalg.norm(middles, axis=1, keepdims=True)
        assert swiss_coverage(middles + 0.115 * outward)[1] == 1
        assert swiss_coverage(middles + 0.13 * outward) == (0, 0.0)


class TestFrechet:
    def test_against_the_matrix_square_root(self):
        rng = np.random.default_rng(0)
        A, B = (
            rng.standard_normal((40, 4)) @ rng.standard_normal((4, 4)),
            rng.standard_normal((30, 4)) + np.array([1, 0, 2, 0]),
        )
        a, b = np.cov(A.T), np.cov(B.T)
        expected = np.sum((A.mean(0) - B.mean(0)) ** 2) + np.trace(a + b - 2 * linalg.sqrtm(a @ b).real)
        assert frechet_distance(A, B) == pytest.approx(expected, rel=1e-9)
        assert frechet_distance(B, A) == pytest.approx(expected, rel=1e-9)

    def test_one_column_and_no_spread(self):
        A, B = np.array([[0.0], [2.0]]), np.array([[5.0], [11.0]])  # means 1 and 8, deviations √2 and √18
        assert frechet_distance(A, B) == pytest.approx(49 + 8)
        flat = np.zeros((3, 2))
        assert frechet_distance(flat, flat + np.array([3, 4])) == pytest.approx(25)

    @pytest.mark.parametrize(
        ("A", "B", "message"),
        [
            ([[1.0]], [[1.0], [2.0]], "A must have at least two rows, got 1"),
            ([[1.0], [2.0]], [[1.0]], "B must have at least two rows, got 1"),
            ([[1.0], [2.0]], [[1.0, 2.0]] * 2, "B must have 1 columns, got 2"),
            ([1.0], [[1.0]], "A must have 2 dimension"),
        ],
    )
    def test_bad_input(self, A, B, message):
        with pytest.raises(ValueError, match=message):
            frechet_distance(A, B)


class TestDigits:
    def test_features_tell_digits_apart(self):
        """Nearest class mean in the features of the images that the classifier has not seen."""
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        images, labels = load_digits(return_X_y=True)
        train, test, y, z = train_test_split(images / 8 - 1, labels, test_size=500, stratify=labels, random_state=0)
        features = digits_features()
        known, new = features(train), features(test)
        assert known.shape == (1297, 32)
        assert known.min() == 0
        means = np.stack([known[y == k].mean(axis=0) for k in range(10)])
        nearest = np.linalg.norm(new[:, None] - means, axis=2).argmin(axis=1)
        assert np.mean(nearest == z) > 0.93
        assert features is digits_features()
        assert frechet_distance(known, new) < 0.1 * frechet_distance(known, features(-test))
        with pytest.raises(ValueError, match="x must have 64 columns, got 3"):
            features(np.zeros((2, 3)))


def gap_by_hand(seed, n, h, form):
    """The same in NumPy: one hidden layer, slopes from the masks; autograd's part by masks held fixed."""
    net = make_critic([seed], 2, "none", hidden=(16,), dtype=torch.float64).network
    W, b, v, c = (p.detach().numpy()[0] for p in (net.weights[0], net.biases[0], net.weights[1], net.biases[1]))
    rng = np.random.default_rng([seed, 7])
    p, q = rng.standard_normal((n, 2)), rng.standard_normal((n, 2)) + np.array([1, 0])

    def objective(bias, fixed=None):
        total = 0
        for sign, x in ((1, p), (-1, q)):
            mask = np.where(x @ W + (b if fixed else bias) > 0, 1, 0.2)
            D = (mask * (x @ W + bias)) @ v[:, 0] + c[0, 0]
            slope = np.linalg.norm((mask * v[:, 0]) @ W.T, axis=1)
            total += sign * form(D, slope).mean()
        return total

    def gradient(step, fixed):
        return (
            np.array([objective(b + step * e, fixed) - objective(b - step * e, fixed) for e in np.eye(16)]) / step / 2
        )

    true, claimed = gradient(h, False), gradient(1e-5, True)
    error = np.linalg.norm(claimed - true) / np.linalg.norm(true)
    return error, claimed @ true / np.linalg.norm(claimed) / np.linalg.norm(true)


class TestAutograd:
    @pytest.mark.parametrize(
        ("scheme", "form"),
        [("none", lambda D, n: D), ("GN", lambda D, n: D / (n + abs(D))), ("plain", lambda D, n: D / n)],
    )
    def test_against_numpy(self, scheme, form):
        for seed, n, h in ((0, 500, 0.02), (3, 300, 0.1)):
            np.testing.assert_allclose(autograd_gap(scheme, seed, n, h), gap_by_hand(seed, n, h, form), rtol=1e-5)

    def test_autograd_is_right_for_d_alone(self):
        """But for the noise of the points near a boundary."""
        assert autograd_gap("none", 1, 20_000)[0] < 0.03 < 0.1 < autograd_gap("GN", 1, 20_000)[0]
        assert autograd_gap("none", 1) == autograd_gap("none", 1, 100_000, 0.02)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (("WGAN", 0), "scheme must be one of"),
            (("GN", -1), "seed must be an integer >= 0, got -1"),
            (("GN", 0, 0), "n must be an integer >= 1, got 0"),
            (("GN", 0, 5, 0), "step must be a finite number > 0, got 0"),
            (("GN", 0, 5, math.inf), "step must be a finite number > 0, got inf"),
        ],
    )
    def test_bad_input(self, given, message):
        with pytest.raises(ValueError, match=message):
            autograd_gap(*given)


class TestPacking:
    def test_round_trip(self):
        values = np.random.default_rng(0).standard_normal((3, 5))
        text = pack(values)
        assert len(base64.b64decode(text)) == 30
        found = unpack(text, (3, 5))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, values, rtol=2**-11)
        np.testing.assert_array_equal(unpack(pack(torch.tensor([65504.0, -0.5])), [2]), [65504, -0.5])

    def test_numbers_are_little_endian_halves(self):
        assert base64.b64decode(pack([1.0])) == b"\x00\x3c"

    @pytest.mark.parametrize("bad", [math.nan, math.inf, 1e6, -1e6])
    def test_what_does_not_fit(self, bad):
        with pytest.raises(ValueError, match="array must be finite in float16, got 1 other value"):
            pack([0.0, bad])

    def test_another_shape(self):
        with pytest.raises(ValueError, match=r"shape must hold the 4 values of the text, got \(3,\)"):
            unpack(pack([1.0, 2, 3, 4]), [3])

    def test_a_critic_comes_back(self):
        critic = make_critic([5], 2, "GN", hidden=[8, 4])
        network = critic.network.single(0)
        again = unpack_critic(pack_critic(network), [2, 8, 4, 1])
        assert [type(layer) for layer in again] == [nn.Linear, nn.LeakyReLU, nn.Linear, nn.LeakyReLU, nn.Linear]
        assert {layer.negative_slope for layer in again if isinstance(layer, nn.LeakyReLU)} == {0.2}
        for a, b in zip(again.parameters(), network.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=2**-11, atol=1e-7)
            assert not a.requires_grad

    @pytest.mark.parametrize(
        ("widths", "message"),
        [
            ([2], "widths must hold at least two numbers, got 1"),
            ([2, 0], "widths must be an integer >= 1, got 0"),
            ([2, 4], "shape must hold the 3 values of the text"),
        ],
    )
    def test_bad_widths(self, widths, message):
        with pytest.raises(ValueError, match=message):
            unpack_critic(pack([1.0, 2.0, 3.0]), widths)


def test_the_radius_is_that_of_the_table():
    assert gan_evaluation.RADIUS == 0.01
