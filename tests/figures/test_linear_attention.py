"""Pictures of notebook 03: what they draw is what the maths says."""

import math
import re

import numpy as np
import pytest
from numpy.polynomial import hermite_e
from scipy import special
from scipy.spatial import ConvexHull
from sklearn.datasets import load_digits

from helpers.figures import linear_attention as figures
from helpers.lab.figures import blank


def numbers(caption):
    return [float(text.replace(",", "")) for text in re.findall(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?", caption)]


def taylor(order, x):
    return sum(x**j / math.factorial(j) for j in range(order + 1))


def normalised(weights):
    return weights / weights.sum(axis=1, keepdims=True)


class TestDigitTokens:
    q, k = figures.digit_tokens(4, seed=0)
    pixels, digit = load_digits(return_X_y=True)

    def pictures(self, tokens):
        """Which picture each token is: the one in whose direction it points."""
        centred = self.pixels - self.pixels.mean(axis=0)
        cosine = tokens @ centred.T / np.outer(np.linalg.norm(tokens, axis=1), np.linalg.norm(centred, axis=1))
        assert np.allclose(cosine.max(axis=1), 1)
        return cosine.argmax(axis=1)

    def test_four_of_each_digit_in_order_and_no_picture_twice(self):
        queries, keys = self.pictures(self.q), self.pictures(self.k)
        assert self.digit[queries].tolist() == self.digit[keys].tolist() == np.repeat(range(10), 4).tolist()
        assert len({*queries, *keys}) == 80

    def test_scores_have_standard_deviation_one_and_both_sides_the_same_scale(self):
        assert (self.q @ self.k.T).std() == pytest.approx(1)
        centred = self.pixels - self.pixels.mean(axis=0)
        scales = [
            np.linalg.norm(tokens, axis=1) / np.linalg.norm(centred[self.pictures(tokens)], axis=1)
            for tokens in (self.q, self.k)
        ]
        assert np.allclose(scales, scales[0][0])

    def test_another_seed_is_another_choice(self):
        assert not np.array_equal(figures.digit_tokens(4, seed=1)[0], self.q)


class TestOrder:
    @pytest.fixture(scope="class")
    @classmethod
    def picture(cls):
        return figures.Order(blank())

    unit = np.matmul(
        *(tokens if side == 0 else tokens.T for side, tokens in enumerate(figures.digit_tokens(4, seed=0)))
    )

    @pytest.mark.parametrize(("order", "beta"), [(1, 0.5), (2, 2.0), (3, 4.0), (4, 1.0)])
    def test_both_maps_and_every_number_of_the_caption(self, picture, order, beta):
        caption = picture.update(order=order, family="Taylor", beta=beta)
        exact, raw = special.softmax(beta * self.unit, axis=1), taylor(order, beta * self.unit)
        shown, ours = (np.asarray(image.get_array()) for image in picture.maps)
        assert np.allclose(shown, exact)
        assert np.allclose(ours, normalised(raw))
        size = np.linalg.norm(exact)
        turn = {1: -1, 2: -1, 3: -1.5960716379833215, 4: -1.5960716379833215}[order]
        said = numbers(caption)
        assert said[:2] == [order, math.comb(64 + order, order)]
        assert said[2] == pytest.approx(np.linalg.norm(normalised(raw) - exact) / size, rel=0.051)
        assert said[3] == pytest.approx(np.linalg.norm(1 / 40 - exact) / size, rel=0.051)
        assert said[4] == pytest.approx(100 * (beta * self.unit < turn).mean(), abs=0.051)
        theirs, ours = (100 * np.where(beta * self.unit < turn, a, 0).sum() / 40 for a in (exact, normalised(raw)))
        assert said[5:7] == pytest.approx([theirs, ours], abs=0.051)
        assert said[7:] == [(raw.sum(axis=1) <= 0).sum(), 40]

    def test_a_row_sum_below_zero_is_counted(self, picture):
        assert ". 1 of 40 row sums are not positive" in picture.update(order=1, family="Taylor", beta=4.0)

    def test_large_feature_counts_are_rounded(self, picture):
        assert f"D = {math.comb(68, 4):,} features" in picture.update(order=4, family="Taylor", beta=1.0)
        assert "D = 1.1e+07 features" in picture.update(order=5, family="Taylor", beta=1.0)

    def test_an_error_at_rounding_level_has_no_digits(self, picture):
        assert "Error of the map below 1e-9" in picture.update(order=12, family="Hermite", beta=0.25)

    @pytest.mark.parametrize("order", [1, 3, 6])
    def test_curves(self, picture, order):
        beta, lowest = 1.25, np.abs(1.25 * self.unit).max()
        x = np.linspace(-8, 8, 201)
        t, mass = hermite_e.hermegauss(60)
        # Oracle of the Hermite family: weighted least squares on e^x.
        root = np.sqrt(mass)[:, None]
        fit = np.linalg.lstsq(root * np.vander(beta * t, order + 1), root[:, 0] * np.exp(beta * t))[0]
        expected = {
            "Taylor": taylor(order, x), "limit": (1 + x / order) ** order, "Hermite": np.polyval(fit, x),
            "shifted": taylor(order, x + lowest) / taylor(order, lowest),
        }  # fmt: skip
        for family in figures.Order.FAMILIES:
            picture.update(order=order, family=family, beta=beta)
            drawn_x, drawn = picture.curve.get_data()
            assert np.allclose(drawn_x, x)
            assert np.allclose(drawn, expected[family], rtol=1e-6, atol=1e-6), family

    def test_the_fixed_curve_is_the_exponential(self, picture):
        (line,) = [line for line in picture.curve.axes.lines if line.get_label() == "$e^x$"]
        assert np.allclose(line.get_ydata(), np.exp(line.get_xdata()))

    def shaded(self, picture):
        heights, edges, _ = picture.bad.get_data()
        assert set(heights.tolist()) <= {0.0, 1.0}
        assert (edges[0], edges[-1]) == picture.curve.axes.get_xlim() == (-8, 8)
        return (edges[1:] + edges[:-1]) / 2, heights.astype(bool)

    @pytest.mark.parametrize(
        ("family", "order", "turn"),
        [
            ("Taylor", 1, -1), ("Taylor", 2, -1), ("Taylor", 3, -1.5960716379833), ("Taylor", 4, -1.5960716379833),
            ("Taylor", 5, -2.1806071240351259), ("Taylor", 7, -2.7590027099622719), ("limit", 3, -3), ("limit", 4, -4),
        ],
    )  # fmt: skip  # roots: mpmath
    def test_shaded_where_the_weight_is_negative_or_rises_leftwards(self, picture, family, order, turn):
        picture.update(order=order, family=family, beta=1.0)
        x, shaded = self.shaded(picture)
        assert (shaded == (x < turn)).all()

    def test_a_level_point_is_not_upside_down(self, picture):
        """Hermite of order 3 at β = 1 is (x³ + 3x² + 3x + 3)/6 = ((1 + x)³ + 2)/6: it never falls, is level at -1."""
        caption = picture.update(order=3, family="Hermite", beta=1.0)
        x, shaded = self.shaded(picture)
        root = -1 - 2 ** (1 / 3)
        assert (shaded == (x < root)).all()
        assert numbers(caption)[4] == pytest.approx(100 * (self.unit < root).mean(), abs=0.051)

    def test_more_than_one_stretch_can_be_upside_down(self, picture):
        caption = picture.update(order=5, family="Hermite", beta=1.75)
        x, shaded = self.shaded(picture)
        coefficients = np.array([special.factorial(5) / special.factorial(j) for j in range(6)])
        for j in range(6):  # the definition of the Hermite coefficients, times 5!
            coefficients[j] *= sum((-(1.75**2) / 2) ** i / math.factorial(i) for i in range((5 - j) // 2 + 1))
        value, slope = (np.polyval(c[::-1], x) for c in (coefficients, coefficients[1:] * np.arange(1, 6)))
        assert (shaded == ((value < 0) | (slope < 0))).all()
        assert np.count_nonzero(np.diff(shaded)) > 1
        scores = 1.75 * self.unit
        value, slope = (np.polyval(c[::-1], scores) for c in (coefficients, coefficients[1:] * np.arange(1, 6)))
        assert numbers(caption)[3] == pytest.approx(100 * ((value < 0) | (slope < 0)).mean(), abs=0.051)

    @pytest.mark.parametrize("order", [2, 12])
    def test_shifted_turns_left_of_every_score(self, picture, order):
        caption = picture.update(order=order, family="shifted", beta=2.0)
        x, shaded = self.shaded(picture)
        assert not shaded[x > 2 * self.unit.min()].any()
        assert "lie 0.0% of the scores; softmax gives them 0.0% of the weight, the polynomial 0.0%." in caption

    def test_nothing_is_shaded_when_the_turn_lies_outside(self, picture):
        picture.update(order=12, family="shifted", beta=4.0)
        assert not self.shaded(picture)[1].any()

    def test_dotted_lines_hold_95_percent_of_the_scores(self, picture):
        picture.update(order=2, family="Taylor", beta=2.0)
        low, high = (line.get_xdata()[0] for line in picture.band)
        assert np.mean((2 * self.unit >= low) & (2 * self.unit <= high)) == pytest.approx(0.95, abs=0.002)
        assert np.mean(2 * self.unit < low) == pytest.approx(0.025, abs=0.001)

    def test_a_negative_coefficient_is_no_feature_map(self, picture):
        assert "no feature map" in picture.update(order=2, family="Hermite", beta=1.5)
        assert "D = 2,145" in picture.update(order=2, family="Hermite", beta=1.25)
        assert "D = 65" in picture.update(order=1, family="Hermite", beta=4.0)

    def test_order_two_gives_a_fifth_of_the_weight_to_opposite_digits(self, picture):
        picture.update(order=2, family="Taylor", beta=4.0)
        opposite = 4 * self.unit < -1
        softmax, ours = (np.asarray(image.get_array())[opposite].sum() / 40 for image in picture.maps)
        assert softmax < 0.002 < 0.2 < ours < 0.25

    def test_four_families_three_agree_at_order_one(self, picture):
        maps = []
        for family in figures.Order.FAMILIES:
            picture.update(order=1, family=family, beta=1.0)
            maps.append(np.asarray(picture.maps[1].get_array()))
        assert np.allclose(maps[0], maps[1])
        assert np.allclose(maps[0], maps[2])
        assert not np.allclose(maps[0], maps[3], atol=1e-3)


class TestSpectrum:
    @pytest.fixture(scope="class")
    @classmethod
    def picture(cls):
        return figures.Spectrum(blank())

    def weights(self, picture, d, beta):
        q, k = picture.tokens[d]
        return special.softmax(beta / d**0.5 * q @ k.T, axis=1)

    @pytest.mark.parametrize(("d", "beta"), [(2, 0.05), (4, 0.5), (16, 2.0), (64, 1.0)])
    def test_values_rank_and_effective_rank(self, picture, d, beta):
        caption = picture.update(beta=beta, dim=d)
        values = np.linalg.svd(self.weights(picture, d, beta), compute_uv=False)
        index, drawn = picture.values.get_data()
        kept = values[values > 1e-6 * values[0]] / values[0]
        assert np.allclose(drawn, kept)
        assert index.tolist() == list(range(1, len(kept) + 1))
        rank, share = (values > 0.01 * values[0]).sum(), values / values.sum()
        said = numbers(caption)
        assert said[2:4] == [rank, 256]
        assert said[5] == pytest.approx(np.exp(special.entr(share).sum()), rel=0.006)
        assert picture.here.get_xydata().tolist() == [[beta, rank]]

    def test_tokens_are_standard_normal_and_differ(self, picture):
        for d, (q, k) in picture.tokens.items():
            assert q.shape == k.shape == (256, d)
            assert q.std() == pytest.approx(1, abs=0.1)
            assert abs((q * k).mean()) < 0.1

    def test_rank_curve(self, picture):
        picture.update(beta=0.5, dim=16)
        betas, ranks = picture.curve.get_data()
        assert betas[0] == pytest.approx(0.01)
        assert betas[-1] == pytest.approx(64)
        for k in (0, 5, 10):
            values = np.linalg.svd(self.weights(picture, 16, betas[k]), compute_uv=False)
            assert ranks[k] == (values > 0.01 * values[0]).sum()

    @pytest.mark.parametrize(("d", "orders"), [(4, (5, 15)), (16, (17, 153)), (64, (65, 256))])
    def test_what_orders_one_and_two_allow(self, picture, d, orders):
        picture.update(beta=0.5, dim=d)
        assert [line.get_ydata()[0] for line in picture.limits] == list(orders)

    def test_steps_are_as_wide_as_the_taylor_blocks(self, picture):
        caption = picture.update(beta=0.5, dim=4)
        rho = (18**0.5 - 14**0.5) / 2  # the smaller root of ρ + 1/ρ = √(σ^-4 + 2) with σ² = 1/4
        assert f"Each step is {rho:.2g} of the last" in caption
        ends = [math.comb(4 + n, n) for n in range(8)]
        for line, end in zip(picture.blocks, ends, strict=True):
            assert line.get_visible() == (end < 256)
            assert line.get_xdata() == [end + 0.5, end + 0.5]
        x, y = picture.steps.get_data()
        assert picture.steps.get_visible()
        assert np.allclose(x[1:10:2], np.array(ends[:5]) + 0.5)
        assert np.allclose(x[2:10:2], np.array(ends[:4]) + 0.5)
        assert x[0] == 0.5
        assert x.max() == 256.5
        assert np.allclose(y, np.repeat(rho ** np.arange(8), 2))

    @pytest.mark.parametrize(("beta", "exists"), [(1.4, True), (1.42, False)])
    def test_no_staircase_from_root_half_on(self, picture, beta, exists):
        caption = picture.update(beta=beta, dim=4)
        assert ("No staircase" in caption) is not exists
        assert bool(picture.steps.get_visible()) is exists

    def test_favourites_are_corners_of_the_convex_hull(self, picture):
        q, k = picture.tokens[2]
        winners = set((q @ k.T).argmax(axis=1).tolist())
        assert winners <= set(ConvexHull(k).vertices.tolist())
        assert picture.update(beta=64.0, dim=2).endswith(f"favourite: {len(winners)}.")


class TestRandomFeatures:
    @pytest.fixture(scope="class")
    @classmethod
    def picture(cls):
        return figures.RandomFeatures(blank())

    COUNTS = 2 ** np.arange(2, 11)

    def rmse(self, size, angle, m, kind):
        """Exact, from |q ± k|² by the law of cosines; orthogonal pairs by Kummer's function."""
        s, t = (2 * size * (1 + sign * np.cos(np.radians(angle))) for sign in (1, -1))
        if kind == "pairs":
            return np.sqrt(4 / m) * np.sinh(s / 2)
        if kind == "waves":
            return np.sqrt(4 / m) * np.sinh(t / 2)
        pairs = m // 16 * 16 * 15 + m % 16 * (m % 16 - 1) if kind == "orthogonal" else 0
        return np.sqrt(np.expm1(s) / m + pairs / m**2 * (special.hyp1f1(16, 8, s / 2) / np.exp(s) - 1))

    @pytest.mark.parametrize("kind", figures.RandomFeatures.KINDS)
    def test_estimates_scatter_as_the_formula_says(self, picture, kind):
        size, angle, m = 0.4, 60, 32
        estimates = picture._estimates(size, angle, m, kind)
        exact = self.rmse(size, angle, m, kind)
        assert estimates.shape == (300,)
        assert estimates.mean() == pytest.approx(1, abs=4 * exact / 300**0.5)
        assert np.sqrt(np.mean((estimates - 1) ** 2)) == pytest.approx(exact, rel=0.2)

    def test_right_angles_reduce_the_scatter(self, picture):
        spread = [picture._estimates(0.5, 0, 1024, kind).std() for kind in ("plain", "orthogonal")]
        exact = [self.rmse(0.5, 0, 1024, kind) for kind in ("plain", "orthogonal")]
        assert spread[1] / spread[0] == pytest.approx(exact[1] / exact[0], abs=0.12)
        assert spread[1] < 0.97 * spread[0]

    def test_orthogonal_directions_are_gaussian_one_by_one(self, picture):
        pool = picture.pool["orthogonal"].reshape(-1, 2)
        assert np.allclose(np.cov(pool.T), np.eye(2), atol=0.01)
        assert np.mean(pool**4, axis=0) == pytest.approx([3, 3], abs=0.1)

    def test_lines_and_the_chosen_point(self, picture):
        picture.update(size=0.7, angle=75, features=64, kind="pairs")
        for kind, line in picture.lines.items():
            m, drawn = line.get_data()
            assert m.tolist() == self.COUNTS.tolist()
            assert np.allclose(drawn, [self.rmse(0.7, 75, m, kind) for m in self.COUNTS])
        assert np.allclose(picture.here.get_xydata(), [[64, self.rmse(0.7, 75, 64, "pairs")]])

    def test_histogram_marks_and_caption(self, picture):
        caption = picture.update(size=4.0, angle=0, features=64, kind="plain")
        estimates = picture._estimates(4.0, 0, 64, "plain")
        shares, edges, _ = picture.bars.get_data()
        assert shares.sum() == pytest.approx(1)
        assert shares[-1] == pytest.approx(np.mean(estimates > 3.95))
        assert shares[0] == 0
        assert shares[6] == pytest.approx(np.mean((estimates > 0.05) & (estimates < 0.15)))
        assert np.allclose(edges[[15, 16]], [0.95, 1.05])
        median, mean = np.median(estimates), estimates.mean()
        assert [line.get_xdata() for line in picture.marks] == [[median, median], [mean, mean]]
        said = numbers(caption)
        assert said[:3] == [64, 16, 0]
        assert said[3] == pytest.approx(median, abs=0.006)
        assert said[4:6] == pytest.approx([300, mean], abs=0.006)
        assert said[6] == pytest.approx(100 * np.mean(estimates < 1), abs=0.51)
        assert said[8] == pytest.approx(np.sqrt(np.expm1(16) / 64), rel=0.05)

    def test_waves_can_be_negative(self, picture):
        picture.update(size=4.0, angle=180, features=4, kind="waves")
        assert picture.bars.get_data()[0][0] > 0.1

    @pytest.mark.parametrize(("kind", "angle"), [("plain", 180), ("pairs", 180), ("orthogonal", 180), ("waves", 0)])
    def test_each_kind_has_an_exact_pair(self, picture, kind, angle):
        caption = picture.update(size=2.0, angle=angle, features=16, kind=kind)
        assert caption.endswith("median 1.00, mean of 300 draws 1.00, 0% below 1. Exact RMSE 0.")
        assert picture.bars.get_data()[0][15] == 1
        assert picture.lines[kind].get_ydata().max() < 1e-6


class TestDenominators:
    @pytest.fixture(scope="class")
    @classmethod
    def picture(cls):
        return figures.Denominators(blank())

    @pytest.mark.parametrize(
        ("order", "beta", "mean", "centred"),
        [(3, 2.0, 0.5, False), (1, 0.75, 1.0, False), (1, 4.0, 1.0, True), (2, 1.0, 0.3, False)],
    )
    def test_rows_and_caption(self, picture, order, beta, mean, centred):
        caption = picture.update(order=order, beta=beta, key_mean=mean, centred=centred)
        rng = np.random.default_rng(1)
        q, k = rng.standard_normal((2, 256, 64))
        k = k - k.mean(axis=0) if centred else k + mean
        sums, misplaced, negative = [], [], 0
        for i in range(256):
            x = beta / 8 * k[: i + 1] @ q[i]
            raw = taylor(order, x)
            sums.append(raw.sum())
            negative += (raw < 0).sum()
            misplaced.append(np.abs(raw / raw.sum() - special.softmax(x)).sum() / 2)
        sums, bad = np.array(sums), np.array(sums) <= 0
        for line, chosen in ((picture.good, ~bad), (picture.bad, bad)):
            row, height = line.get_data()
            assert row.tolist() == (np.flatnonzero(chosen) + 1).tolist()
            assert np.allclose(height, sums[chosen])
        assert np.allclose(picture.misplaced.get_xdata(), np.arange(1, 257))
        assert np.allclose(picture.misplaced.get_ydata(), np.maximum(misplaced, 1e-6))
        said = numbers(caption)
        assert said[:5] == [order, beta, mean, bad.sum(), 256]
        assert said[5] == pytest.approx(100 * negative / (256 * 257 / 2), abs=0.051)
        assert said[6:] == pytest.approx([np.median(misplaced), max(misplaced)], rel=0.051)
        assert f", key mean {mean:.1f}{' removed' if centred else ''}: " in caption

    def test_even_orders_have_positive_denominators_and_odd_ones_need_not(self, picture):
        for order in range(1, 9):
            picture.update(order=order, beta=4.0, key_mean=1.0, centred=False)
            assert (len(picture.bad.get_xdata()) > 0) is (order % 2 == 1)

    def test_what_the_notebook_says_of_an_even_order(self, picture):
        worst = [
            numbers(picture.update(order=4, beta=2.0, key_mean=1.0, centred=centred))[-1] for centred in (False, True)
        ]
        assert worst[0] > 0.9 > 0.6 > worst[1]
