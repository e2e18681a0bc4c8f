"""Pictures of notebook 02: what they draw is what the maths says."""

import math
import re

import numpy as np
import pytest

from helpers.figures import contrastive as figures
from helpers.lab.figures import blank


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?", text)]


def at(line, gap):
    """Value of a drawn curve at a gap, None where it is not drawn."""
    x, y = (np.asarray(values) for values in line.get_data())
    near = np.isclose(x, gap)
    return float(y[near][0]) if near.any() else None


class TestPull:
    picture = figures.Pull(blank())

    def draw(self, **values):
        caption = self.picture.update(**({"batch": 2, "temperature": 0.05, "precision": "fp32"} | values))
        return self.picture, caption

    def test_the_careful_form_follows_the_closed_form_to_the_end(self):
        picture, _ = self.draw()
        x, y = picture.sizes["careful InfoNCE"].get_data()
        assert x[0] == 0
        assert x[-1] == 45
        assert np.allclose(y, 1 / (1 + np.exp(x)), rtol=1e-5)

    def test_cross_entropy_ends_at_24_log_2(self):
        picture, caption = self.draw()
        assert 16.2 < picture.sizes["cross entropy"].get_xdata()[-1] < 24 * math.log(2)
        assert "a gap of 16.6, if" in caption
        for line in picture.threshold:
            assert np.allclose(line.get_xdata(), 24 * math.log(2))

    def test_flatnce_pulls_with_one_everywhere(self):
        picture, _ = self.draw(batch=16)
        assert np.allclose(picture.sizes["FlatNCE"].get_ydata(), 1, rtol=1e-6)

    def test_only_cross_entropy_is_wrong_in_fp32(self):
        picture, _ = self.draw()
        level = 64 * 2.0**-24
        for name, line in picture.errors.items():
            if name != "cross entropy":
                assert np.allclose(line.get_ydata(), level), name
        lost = picture.errors["cross entropy"]
        assert at(lost, 2.0) == pytest.approx(level)
        assert 1e-4 < at(lost, 10.0) < 1e-2
        assert at(lost, 40.0) == 1

    def test_the_error_is_the_largest_so_far(self):
        picture, _ = self.draw(batch=256, precision="fp16")
        for line in picture.errors.values():
            assert (np.diff(line.get_ydata()) >= 0).all()

    def test_in_fp16_the_exponential_underflows_and_flatnce_does_not(self):
        picture, _ = self.draw(precision="fp16")
        assert at(picture.errors["literal log(1 + ξ)"], 20.0) == 1
        assert picture.errors["FlatNCE"].get_ydata()[-1] == 64 * 2.0**-11

    def test_double_precision_moves_the_end(self):
        picture, caption = self.draw(precision="fp64")
        assert 36 < picture.sizes["cross entropy"].get_xdata()[-1] < 53 * math.log(2)
        assert "a gap of 36.7, if" in caption

    @pytest.mark.parametrize(("temperature", "reach"), [(0.05, 40), (0.5, 4), (1.0, 2)])
    def test_the_band_is_what_cosines_can_reach(self, temperature, reach):
        picture, caption = self.draw(temperature=temperature)
        for span in picture.reach:
            assert (span.get_x(), span.get_width()) == (0, pytest.approx(reach))
        assert f"cosines reach {reach}," in caption

    def test_the_caption(self):
        _, caption = self.draw(batch=256, temperature=0.1)
        xi = 255 * math.exp(-10)
        assert f"255 negatives at 0: gap 10, ξ = {xi:.2g}, InfoNCE = {math.log1p(xi):.2g}." in caption
        assert "no score they can give is that far" in caption
        _, caption = self.draw()
        assert f"{1 - 24 * math.log(2) / 40:.0%} of their range is without pull" in caption


class TestThreeArrows:
    picture = figures.ThreeArrows(blank())

    def ends(self, **values):
        caption = self.picture.update(**({"temperature": 0.05, "optimiser": "Adam", "precision": "fp32"} | values))
        drawn = [[paths[name].get_ydata()[-1] for paths in self.picture.paths] for name in self.picture.paths[0]]
        assert np.allclose(numbers(caption.partition("end:")[2]), np.ravel(drawn), atol=0.0051)
        return np.array(drawn)

    def test_all_start_at_the_same_place(self):
        self.ends()
        for paths, start in zip(self.picture.paths, (0.9, 0.0), strict=True):
            for line in paths.values():
                assert line.get_xdata()[0] == 0
                assert line.get_ydata()[0] == pytest.approx(start)

    def test_rounding_lets_the_positive_drift_away(self):
        (rounded, exact, flat) = self.ends()
        assert rounded[0] < 0.9 < exact[0]
        assert np.allclose(flat, [1, -1], atol=1e-3)

    def test_in_double_precision_both_spellings_agree(self):
        rounded, exact, _ = self.ends(precision="fp64", optimiser="Adam, tiny ε", temperature=0.03)
        assert np.allclose(rounded, exact, atol=1e-4)
        assert exact[0] > 0.95

    def test_epsilon_freezes_exact_gradients_too(self):
        (_, frozen, flat) = self.ends(temperature=0.03, precision="fp64")
        assert np.allclose(frozen, [0.9, 0], atol=0.01)
        assert np.allclose(flat, [1, -1], atol=1e-3)

    def test_plain_descent_moves_flatnce_alone(self):
        rounded, exact, flat = self.ends(optimiser="SGD")
        assert np.allclose([rounded, exact], [0.9, 0], atol=0.001)
        assert np.allclose(flat, [1, -1], atol=0.01)


def test_no_minus_before_a_zero():
    assert str(figures._no_minus_zero(-0.001)) == "0.0"
    assert figures._no_minus_zero(-0.126) == -0.13


class TestBatchSize:
    picture = figures.BatchSize(blank())

    def draw(self, **values):
        return self.picture.update(**({"batch": 8, "budget": "same steps", "metric": "neighbours"} | values))

    @pytest.mark.parametrize(("metric", "key"), [("neighbours", "knn"), ("linear", "probe")])
    @pytest.mark.parametrize("loss", ["cross entropy", "careful InfoNCE", "cross entropy, fp64", "FlatNCE"])
    def test_curves_are_the_stored_means(self, metric, key, loss):
        caption = self.draw(metric=metric)
        settings = figures.BatchSize._CURVES[loss]
        accuracy = np.array(self.picture.sweep.row(section="same steps", batch_size=8, **settings)[key])
        assert at(self.picture.curves[loss], 8) == pytest.approx(accuracy.mean())
        assert f"{loss} {accuracy.mean():.3f} ± {accuracy.std(ddof=1):.3f}" in caption
        assert list(self.picture.curves[loss].get_xdata()) == [2, 4, 8, 16, 32, 64, 128]
        (_, low), (_, high) = self.picture.bars[loss].get_segments()[2]
        assert (low, high) == pytest.approx(
            (accuracy.mean() - accuracy.std(ddof=1), accuracy.mean() + accuracy.std(ddof=1))
        )
        assert self.picture.accuracy_axes.get_ylabel() == f"accuracy, {metric}"

    def test_range_of_xi(self):
        caption = self.draw()
        row = self.picture.sweep.row(section="same steps", batch_size=8, **figures.BatchSize._CURVES["cross entropy"])
        (x, low), (_, high) = self.picture.quantiles.get_segments()[2]
        assert (x, low, high) == pytest.approx((8, 10 ** row["log10_xi"][1], 10 ** row["log10_xi"][5]))
        assert at(self.picture.medians, 8) == pytest.approx(10 ** row["log10_xi"][3])
        assert f"Median ξ {10 ** row['log10_xi'][3]:.2g};" in caption
        assert caption.startswith("N = 8, 1500 steps, 10 seeds: ")
        for line in self.picture.here:
            assert list(line.get_xdata()) == [8, 8]

    def test_equal_samples_have_fewer_curves_and_sizes(self):
        caption = self.draw(budget="same samples", batch=4)
        assert caption.startswith("N = 4, 6000 steps")
        assert len(self.picture.curves["careful InfoNCE"].get_xdata()) == 0
        assert self.picture.curves["FlatNCE"].get_xdata()[-1] == 64
        assert "Nothing stored for N = 128" in self.draw(budget="same samples", batch=128)
        assert "the largest there is N = 64" in self.draw(budget="same samples", batch=128)

    def test_a_run_adds_marks_that_stay(self, monkeypatch):
        picture = figures.BatchSize(blank())
        monkeypatch.setattr(picture, "STEPS", 3)
        counted = []
        caption = picture.run(
            lambda steps, name: (counted.append((k, name)) or k for k in steps), batch=4, budget="same steps",
            metric="linear",
        )  # fmt: skip
        assert [k for k, _ in counted] == list(range(9))
        assert counted[0][1] == "5 seeds of 3 losses at batch size 4"
        assert caption.startswith("Trained now, N = 4, 3 steps, 5 seeds (hollow marks): cross entropy ")
        means = [float(number) for number in re.findall(r"(\d\.\d+) ±", caption)]
        names = ("cross entropy", "careful InfoNCE", "FlatNCE")
        assert [at(picture.points[name], 4) for name in names] == pytest.approx(means, abs=5e-4)
        picture.update(batch=16, budget="same steps", metric="linear")
        assert at(picture.points["FlatNCE"], 4) == pytest.approx(means[2], abs=5e-4)
        picture.update(batch=16, budget="same steps", metric="neighbours")
        assert at(picture.points["FlatNCE"], 4) == pytest.approx(picture.live[4]["FlatNCE"]["knn"].mean())
        picture.update(batch=16, budget="same samples", metric="linear")
        assert at(picture.points["FlatNCE"], 4) is None
