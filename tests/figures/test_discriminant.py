"""Pictures of notebook 01: what they draw is what the maths says."""

import re

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import log_loss

from helpers import discriminant as ld
from helpers.figures import discriminant as figures
from helpers.lab.figures import blank


def numbers(caption):
    return [float(number) for number in re.findall(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", caption)]


def slope_and_score(line, w, midpoint):
    """Direction of a drawn line (rise over run) and the score u at one of its points."""
    (x0, y0), (x1, y1) = line.get_xydata()
    return (y1 - y0) / (x1 - x0), w @ (np.array([x0, y0]) - midpoint)


class TestTwoClasses:
    clouds = figures.TwoClasses(4000, seed=0)

    @pytest.mark.parametrize(("prior", "count"), [(0.5, 500), (0.84, 840), (0.02, 20), (0.0001, 2), (0.9999, 998)])
    def test_share_of_class_1(self, prior, count):
        assert self.clouds.draw(1000, 2.0, prior)[1].sum() == count

    def test_gaussian_classes(self):
        features, labels = self.clouds.draw(4000, 3.0, 0.5)
        assert np.allclose(
            features[labels == 1].mean(axis=0) - features[labels == 0].mean(axis=0), [3 * 0.75**0.5, 0], atol=0.1
        )
        for c in (0, 1):
            assert np.allclose(np.cov(features[labels == c].T), [[1, 0.5], [0.5, 1]], atol=0.1)
        w, _ = ld.linear_discriminant(ld.ClassMoments.from_data(features, labels)).to_binary()
        assert (features[labels == 1].mean(axis=0) - features[labels == 0].mean(axis=0)) @ w == pytest.approx(
            9, rel=0.1
        )

    def test_the_points_only_shift_when_the_separation_moves(self):
        near, far = (self.clouds.draw(100, separation, 0.5)[0] for separation in (1.0, 2.0))
        assert np.allclose(far - near, np.repeat([[-0.5, 0], [0.5, 0]], 50, axis=0) * 0.75**0.5)

    def test_leverage_pushes_a_fifth_of_the_amount_to_its_own_side(self):
        plain, labels = self.clouds.draw(4000, 2.0, 0.5)
        pushed, _ = self.clouds.draw(4000, 2.0, 0.5, "leverage", 0.5)
        shift = pushed - plain
        assert set(np.round(shift[labels == 1, 0], 9)) == {0.0, 8.0}
        assert set(np.round(shift[labels == 0, 0], 9)) == {0.0, -8.0}
        assert np.all(shift[:, 1] == 0)
        assert np.mean(shift[:, 0] != 0) == pytest.approx(0.1, abs=0.02)

    def test_heavy_tails_are_student_t(self):
        features, labels = self.clouds.draw(4000, 0.0, 0.5, "heavy tails", 0.5)
        noise = features[labels == 0, 0]
        assert stats.kstest(noise, stats.t(df=4).cdf).pvalue > 0.01
        assert stats.kstest(noise, stats.norm.cdf).pvalue < 0.01

    def test_unequal_spread_stretches_class_1_only(self):
        features, labels = self.clouds.draw(4000, 0.0, 0.5, "spread", 1.0)
        assert features[labels == 0].std() == pytest.approx(1, abs=0.05)
        assert features[labels == 1].std() == pytest.approx(3, abs=0.15)

    @pytest.mark.parametrize("kind", figures.TwoClasses.DEPARTURES)
    def test_amount_zero_is_no_departure(self, kind):
        assert np.array_equal(self.clouds.draw(50, 1.0, 0.5, kind, 0.0)[0], self.clouds.draw(50, 1.0, 0.5)[0])


class TestThreeLines:
    def test_three_parallel_lines_cut_where_equation_9_says(self):
        picture = figures.ThreeLines(blank())
        caption = picture.update(separation=2.0, prior=0.7, samples=1000)
        features, labels = picture.train.draw(1000, 2.0, 0.7)
        mean0, mean1 = (features[labels == c].mean(axis=0) for c in (0, 1))
        w, _ = ld.linear_discriminant(ld.ClassMoments.from_data(features, labels)).to_binary()
        lines = picture.clouds.lines
        drawn = {n: slope_and_score(lines[n], w, (mean0 + mean1) / 2) for n in ("within", "total", "least squares")}
        t, pair = np.log(0.7 / 0.3), 0.21 * (mean1 - mean0) @ w
        assert np.allclose([slope for slope, _ in drawn.values()], -w[0] / w[1])
        assert np.allclose([u for _, u in drawn.values()], [-t, -t * (1 + pair), -np.sinh(t)], atol=1e-8)
        shown = numbers(caption)[:4]
        assert np.allclose(shown[0], pair / (1 + pair), atol=0.006)
        assert np.allclose(shown[1:], [u for _, u in drawn.values()], atol=0.006)

    def test_maximum_likelihood_follows_the_closed_form_on_gaussian_classes(self):
        caption = figures.ThreeLines(blank()).update(separation=2.0, prior=0.5, samples=5000)
        within, total, likelihood = numbers(caption)[-3:]
        assert abs(within - likelihood) < 0.002
        assert total > within + 0.01

    def test_separable_classes_hide_maximum_likelihood_and_say_so(self):
        picture = figures.ThreeLines(blank())
        caption = picture.update(separation=6.0, prior=0.5, samples=10)
        assert caption.endswith("max. likelihood none (separable).")
        assert not picture.clouds.lines["max. likelihood"].get_visible()
        assert not picture.reliability.curves["max. likelihood"].get_visible()
        assert picture.clouds.lines["within"].get_visible()
        picture.update(separation=2.0, prior=0.5, samples=1000)
        assert picture.clouds.lines["max. likelihood"].get_visible()

    def test_cuts_of_balanced_classes_have_no_minus_before_a_zero(self):
        caption = figures.ThreeLines(blank()).update(separation=2.0, prior=0.5, samples=1000)
        assert "within +0.00, total +0.00, least squares +0.00." in caption

    def test_log_loss_is_that_of_the_test_set(self):
        picture = figures.ThreeLines(blank())
        caption = picture.update(separation=2.0, prior=0.7, samples=500)
        w, b = ld.linear_discriminant(ld.ClassMoments.from_data(*picture.train.draw(500, 2.0, 0.7))).to_binary()
        test, labels = picture.test.draw(20000, 2.0, 0.7)
        p = 1 / (1 + np.exp(-(test @ w + b)))
        assert numbers(caption)[-3] == pytest.approx(log_loss(labels, p), abs=6e-4)


class TestDeparture:
    @staticmethod
    def errors(kind, amount):
        caption = figures.Departure(blank()).update(kind=kind, amount=amount, separation=2.0, samples=5000)
        return [float(error) for error in re.findall(r"calibration error (\d\.\d+)", caption)]

    def test_both_are_calibrated_without_departure(self):
        assert max(self.errors("leverage", 0.0)) < 0.03

    def test_leverage_costs_the_closed_form_its_calibration(self):
        closed, likelihood = self.errors("leverage", 0.25)
        assert closed > 0.1 > 0.03 > likelihood

    def test_heavy_tails_cost_the_closed_form_more(self):
        closed, likelihood = self.errors("heavy tails", 1.0)
        assert closed > likelihood

    def test_separable_classes_are_named(self):
        caption = figures.Departure(blank()).update(kind="leverage", amount=0.0, separation=6.0, samples=20)
        assert "max. likelihood: none, a line separates the classes" in caption


class TestPeaking:
    picture = figures.Peaking(blank())

    def test_hole_at_features_plus_classes_and_its_repair(self):
        plain = {n: numbers(self.picture.update(samples=n, shrinkage=0.0))[2] for n in (50, 110, 500)}
        healed = numbers(self.picture.update(samples=110, shrinkage=0.3))[2]
        assert plain[110] < plain[50] - 0.2 < plain[500]
        assert healed > plain[110] + 0.3

    def test_the_class_means_take_one_direction_each(self):
        caption = self.picture.update(samples=50, shrinkage=0.0)
        assert "60 of 100 directions show no variance" in caption

    @pytest.mark.parametrize(("samples", "shrinkage"), [(500, 0.0), (500, 0.3), (48, 0.0), (48, 0.3)])
    def test_condition_number_of_what_is_inverted(self, samples, shrinkage):
        caption = self.picture.update(samples=samples, shrinkage=shrinkage)
        features, labels = self.picture.parts[0]
        W = ld.ClassMoments.from_data(features[:samples], labels[:samples]).within_cov()
        shrunk = (1 - shrinkage) * W + shrinkage * np.trace(W) / len(W) * np.eye(len(W))
        values = np.linalg.eigvalsh(shrunk)
        kept = values[values > 1e-7 * values.mean()]
        assert numbers(caption)[-1] == pytest.approx(kept.max() / kept.min(), rel=0.06)

    def test_shrinkage_lifts_the_smallest_variance(self):
        self.picture.update(samples=50, shrinkage=0.5)
        estimated, shrunk = (artist.get_ydata() for artist in self.picture.spectrum)
        assert len(estimated) == 40
        assert len(shrunk) == 100
        assert shrunk.min() == pytest.approx(0.5)


class TestOffset:
    picture = figures.Offset(blank())

    def test_raw_sums_lose_digits_with_the_square_of_the_offset(self):
        raw = [numbers(self.picture.update(offset=offset, precision="float64"))[2] for offset in (1e3, 1e6)]
        assert 1e3 < raw[1] / raw[0] < 1e9

    def test_a_covariance_that_is_none_loses_its_ellipse(self):
        caption = self.picture.update(offset=1e9, precision="float64")
        assert caption.endswith("Not a covariance any more: raw sums.")
        assert not self.picture.ellipses["raw sums"].get_visible()
        assert self.picture.ellipses["merged moments"].get_visible()

    def test_merged_moments_lose_only_what_rounding_the_data_loses(self):
        offset, dtype = 1e5, np.float32
        stored = (self.picture.points + offset).astype(dtype).astype(float)
        lost = np.abs(np.cov(stored.T, bias=True) - self.picture.truth).max() / np.abs(self.picture.truth).max()
        caption = self.picture.update(offset=offset, precision="float32")
        assert numbers(caption)[-1] == pytest.approx(lost, rel=0.5)

    def test_a_large_offset_leaves_nothing_of_float32_data(self):
        caption = self.picture.update(offset=1e9, precision="float32")
        assert caption.endswith("Not a covariance any more: raw sums and merged moments.")

    def test_ellipse_has_two_standard_deviations(self):
        self.picture.update(offset=1.0, precision="float64")
        ellipse = self.picture.ellipses["merged moments"]
        variances = np.linalg.eigvalsh(np.cov(self.picture.points.T, bias=True))
        assert np.allclose([ellipse.width, ellipse.height], 4 * np.sqrt(variances))
