"""Pictures of notebook 04: what they draw is what the maths says."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import special, stats

from helpers.figures import transformer_initialization as figures
from helpers.lab.figures import blank

STORED = Path(__file__).parents[2] / "helpers/stored/transformer_initialization_sweep.json"


def numbers(caption):
    return [float(number) for number in re.findall(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", caption)]


class TestTruncation:
    picture = figures.Truncation(blank())

    @pytest.mark.parametrize("cutoff", [0.5, 2.0, 4.0])
    def test_relative_bounds_leave_what_scipy_says_at_every_s(self, cutoff):
        caption = self.picture.update(bounds="relative", cutoff=cutoff, std=0.1, rescale=False)
        left = stats.truncnorm(-cutoff, cutoff).std()
        assert numbers(caption)[:3] == pytest.approx([0.1, 0.1 * left, left], abs=6e-4)
        assert numbers(caption)[3] == pytest.approx(100 * special.erf(cutoff / 2**0.5), rel=6e-3)
        assert np.allclose(self.picture.curve.get_ydata(), left)
        assert np.allclose(self.picture.here.get_xydata(), [[0.1, left]])

    def test_dividing_by_root_gamma_repairs_relative_bounds(self):
        caption = self.picture.update(bounds="relative", cutoff=1.0, std=2.0, rescale=True)
        assert numbers(caption)[:3] == [2.0, 2.0, 1.0]
        assert numbers(caption)[3] == 68.3
        assert np.allclose(self.picture.curve.get_ydata(), 1)

    def test_absolute_bounds_are_torchs(self):
        """The oracle is a million numbers of torch.nn.init.trunc_normal_."""
        for std, rescale in ((1.0, False), (3.0, False), (1.0, True)):
            nominal = std * (stats.truncnorm(-1.5, 1.5).std() ** -1 if rescale else 1)
            draw = torch.empty(1_000_000, dtype=torch.float64)
            torch.nn.init.trunc_normal_(draw, std=nominal, a=-1.5, b=1.5, generator=torch.Generator().manual_seed(0))
            ratio, largest = self.picture.ratio(std, 1.5, "absolute", rescale)
            assert ratio * std == pytest.approx(float(draw.std()), rel=2e-3)
            assert largest * std == pytest.approx(1.5)
            assert float(draw.abs().max()) <= 1.5

    def test_small_weights_are_not_cut_by_absolute_bounds_and_repair_harms_them(self):
        plain = self.picture.update(bounds="absolute", cutoff=2.0, std=0.02, rescale=False)
        assert numbers(plain)[1:] == [0.02, 1.0, 100.0]
        harmed = self.picture.update(bounds="absolute", cutoff=2.0, std=0.02, rescale=True)
        assert numbers(harmed)[1:] == [0.0227, 1.137, 100.0]
        curve = self.picture.curve.get_ydata()
        assert curve[0] == pytest.approx(1.1368472)
        assert curve[-1] == pytest.approx(2 / 3**0.5 / 5, rel=0.02)  # bounds far inside the bell: a uniform law

    def test_histogram_has_the_area_and_the_bounds_of_the_law(self):
        self.picture.update(bounds="relative", cutoff=2.0, std=0.02, rescale=True)
        heights, edges, _ = self.picture.bars.get_data()
        assert np.sum(heights * np.diff(edges)) == pytest.approx(1)
        centres = (edges[1:] + edges[:-1]) / 2
        assert np.sum(heights * centres**2 * np.diff(edges)) == pytest.approx(1, abs=0.02)
        assert np.abs(centres[heights > 0]).max() < 2 * 1.137 + 0.05
        assert np.abs(centres[heights > 0]).max() > 2 * 1.137 - 0.1

    def test_histogram_of_the_whole_law_at_tiny_weights(self):
        self.picture.update(bounds="absolute", cutoff=2.0, std=0.005, rescale=False)
        heights, edges, _ = self.picture.bars.get_data()
        centres = (edges[1:] + edges[:-1]) / 2
        assert np.abs(heights - stats.norm.pdf(centres)).max() < 0.045
        wanted = self.picture.bars.axes.lines[0].get_xydata()
        assert np.allclose(wanted, np.column_stack([centres, stats.norm.pdf(centres)]))


class TestAttentionTemperature:
    picture = figures.AttentionTemperature(blank())

    @pytest.mark.parametrize(("d", "n", "scale", "s"), [(64, 128, 0.0, 8.0), (64, 128, 0.5, 1.0), (16, 32, 1.0, 0.25)])
    def test_caption_is_that_of_a_large_sample(self, d, n, scale, s):
        """Monte Carlo with 20,000 independent rows of logits."""
        shown = numbers(self.picture.update(d=d, n=n, scale=scale).split("1 - ")[0])
        trace = float(re.search(r"Σp² (\d\.\d+)", self.picture.update(d=d, n=n, scale=scale))[1])
        p = special.softmax(s * np.random.default_rng(1).standard_normal((20_000, n)), axis=1)
        assert shown == pytest.approx([s, special.entr(p).sum(axis=1).mean(), math.log(n)], abs=0.02)
        assert trace == pytest.approx(1 - (p**2).sum(axis=1).mean(), abs=0.01)

    def test_reference_values(self):
        """Exact integrals by mpmath, from outside this repository: n = 128, s = 8 and s = 1."""
        for scale, trace in ((0.0, 0.31885133), (0.5, 0.97980828)):
            self.picture.update(d=64, n=128, scale=scale)
            assert self.picture.here.get_ydata()[0] == pytest.approx(trace, abs=1e-7)
            assert self.picture.here.get_xdata()[0] == pytest.approx(8.0 ** (1 - 2 * scale))

    def test_mean_stays_below_its_bound_and_reaches_it(self):
        self.picture.update(d=64, n=16, scale=0.0)
        s, mean, bound = self.picture.mean.get_xdata(), self.picture.mean.get_ydata(), self.picture.bound.get_ydata()
        assert np.all(mean <= bound)
        assert bound[0] == 1 - 1 / 16
        assert bound[-1] * s[-1] == pytest.approx(1.7659913931)  # mean of the largest of 16 normals
        assert mean[-1] > 0.99 * bound[-1]
        assert self.picture.critical.get_xdata() == pytest.approx([math.sqrt(2 * math.log(16))] * 2)

    def test_rows_and_share_of_stuck_queries(self):
        caption = self.picture.update(d=1024, n=64, scale=0.0)
        q, k = self.picture.q[:, :1024], self.picture.k[:64, :1024]
        p = special.softmax(q @ k.T, axis=1)
        assert np.allclose(self.picture.image.get_array(), p[:24])
        through = np.clip(np.sort(1 - (p**2).sum(axis=1)), 1e-13, None)
        assert np.allclose(self.picture.sorted.get_ydata(), through, rtol=1e-3, atol=1e-12)
        assert self.picture.sorted.get_xdata()[[0, -1]] == pytest.approx([0.5 / 256, 1 - 0.5 / 256])
        stuck = 100 * np.mean(p.max(axis=1) > 0.99)
        assert f"Of the queries here {stuck:.0f} % give one key more than 0.99;" in caption
        assert 50 < stuck < 90
        best = float(re.search(r"the best tenth let through (\S+) or more\.$", caption)[1])
        assert best > 0.1
        assert np.mean(through > best) == pytest.approx(0.1, abs=0.015)

    def test_divided_attention_has_no_stuck_query(self):
        assert "here 0 % give" in self.picture.update(d=1024, n=8, scale=0.5)


class TestTower:
    picture = figures.Tower(blank())

    def read(self, **changed):
        given = {"placement": "post", "branch": "linear", "depth": 24, "factor": 1.0, "zero_sum": False}
        caption = self.picture.update(**given | changed)
        return caption, [line.get_xydata() for line in self.picture.theory + self.picture.measured]

    def test_post_norm_of_random_matrices(self):
        caption, lines = self.read()
        assert [len(line) for line in lines] == [25] * 6
        assert np.allclose(lines[1][:, 1], 2.0 ** (-np.arange(25) / 2))
        assert np.allclose([lines[0][:, 1], lines[2][:, 1]], 1)
        assert np.allclose(lines[5][:, 1], 1, atol=0.3)
        assert numbers(caption)[:4] == pytest.approx([24, 1, 2.0**-12, 1], rel=0.05)

    def test_pre_norm_grows_linearly(self):
        caption, lines = self.read(placement="pre", depth=12)
        assert np.allclose(lines[0][:, 1], 1 + np.arange(13))
        assert np.allclose(lines[3][:, 1], 1 + np.arange(13), rtol=0.1)
        assert lines[2][0, 1] == pytest.approx(13**0.5)
        assert lines[5][0, 1] == pytest.approx(13**0.5, rel=0.2)
        assert numbers(caption)[:4] == pytest.approx([12, 13, 13**-0.5, 13**0.5], rel=0.03)

    def test_no_norm_grows_geometrically_with_the_branch_variance(self):
        _, lines = self.read(placement="none", factor=0.5, depth=24)
        assert lines[0][-1, 1] == pytest.approx(1.25**24)
        assert lines[3][-1, 1] == pytest.approx(1.25**24, rel=0.3)

    def test_transformer_post_norm_weakens_what_tells_tokens_apart(self):
        apart = self.read(branch="transformer", zero_sum=True)[1]
        every = self.read(branch="transformer", zero_sum=False)[1]
        assert apart[2][0, 1] < 0.2 < 0.4 < every[2][0, 1]
        assert apart[5][0, 1] < 0.25 < every[5][0, 1]
        gentle = self.read(branch="transformer", zero_sum=True, factor=0.5)[1]
        assert gentle[2][0, 1] == pytest.approx(1, abs=0.1)
        assert gentle[5][0, 1] == pytest.approx(1, abs=0.15)

    @pytest.mark.parametrize("placement", ["rezero", "fixup"])
    def test_silent_branches_are_the_identity(self, placement):
        _, lines = self.read(placement=placement, branch="transformer")
        for line in lines[:3] + lines[4:]:
            assert np.allclose(line[:, 1], 1)
        assert np.allclose(lines[3][:, 1], lines[3][0, 1])  # the signal is what came in, here by chance 0.99

    def test_cosines_that_are_chance_keep_their_sign_in_the_caption_and_leave_the_logarithmic_panel_as_no_nan(self):
        chance = {"branch": "transformer", "zero_sum": True}
        caption, lines = self.read(**chance)
        cosine = self.picture.trace("post", "transformer", 24, 1.0, True)["identity_weight"][-1]
        assert -0.05 < cosine < 0  # about one over the root of the 4096 numbers of a state
        assert f"this tower: 1, {cosine:.2g}, " in caption
        assert lines[4][:, 1].min() == 1e-6

    def test_theory_of_transformer_layers_is_that_of_the_measured_tower(self):
        _, lines = self.read(placement="pre", branch="transformer", factor=0.5)
        assert lines[3][-1, 1] == pytest.approx(lines[0][-1, 1], rel=0.1)
        assert lines[4][-1, 1] == pytest.approx(lines[1][-1, 1], rel=0.1)


TABLE = {
    (row["settings"]["placement"], row["settings"]["lr"], row["settings"]["attention"]): row
    for row in json.loads(STORED.read_text(encoding="utf-8"))["rows"]
    if row["settings"]["section"] == "attention"
}


class TestTraining:
    picture = figures.Training(blank())

    @pytest.mark.parametrize("setting", figures.Training.SETTINGS.values())
    def test_caption_and_curves_are_those_of_the_table(self, setting):
        caption = self.picture.update(setting=setting, attention="t5")
        wanted = []
        for name in ("scaled", "unscaled", "t5", "split"):
            final = TABLE[*setting, name]["final"]
            wanted += [np.mean(final), np.std(final, ddof=1)]
            drawn = self.picture.curves[name].get_ydata()
            assert np.allclose(drawn, np.mean(TABLE[*setting, name]["loss"], axis=0))
        shown = [float(number) for number in re.findall(r"\d\.\d\d", caption)]
        assert np.allclose(shown, wanted, atol=0.006)
        seeds = [line.get_ydata() for line in self.picture.seeds]
        assert np.allclose(seeds, TABLE[*setting, "t5"]["loss"])
        assert self.picture.steps.tolist() == list(range(5, 200, 10))

    def test_button_trains_the_chosen_model(self, monkeypatch):
        """A sixth seed of a short run equals training by hand, and the curve is its block means."""
        from helpers import residual as res

        monkeypatch.setattr(figures.Training, "STEPS", 20)
        picture, seen = figures.Training(blank()), []

        def progress(steps, description):
            seen.append(description)
            return steps

        caption = picture.run(progress, setting=("post", 1e-3), attention="split")
        std = stats.truncnorm(-2, 2).std() / 8
        generator = torch.Generator().manual_seed(5)
        model = res.MaskedLanguageModel(16, 8, 4, 64, 1, 256, "post", std, attention="split", generator=generator)
        losses = res.train_mlm(model, res.PermutationChain(16, 0.1, seed=0), 20, 1e-3, seed=5)["loss"]
        assert seen == ["20 steps of a sixth seed"]
        assert np.allclose(picture.new.get_ydata(), losses.reshape(2, 10).mean(axis=1), rtol=1e-3)
        assert numbers(caption)[-1] == pytest.approx(losses.mean(), abs=0.06)
        picture.new.set_data([1], [1])
