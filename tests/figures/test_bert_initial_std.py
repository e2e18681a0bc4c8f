"""Pictures of notebook 07: what they draw is what the maths, the towers and the stored runs say."""

import re

import numpy as np
import pytest
from scipy import integrate, stats

from helpers.figures import bert_initial_std as figures
from helpers.lab import Stored
from helpers.lab.figures import blank
from helpers.plain_network import PlainNetworks

BERT = dict(std=0.0175925, layers=12, width=768, tokens=128, placement="post")


def numbers(caption):
    return [float(number) for number in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?", caption)]


def no_bar(iterable, description, *, total=None):
    assert description
    return iter(list(iterable))


def gelu_branch(std, d):
    """E F² of a feed-forward branch of hidden width 4 d, by quadrature."""
    scale = np.sqrt(d) * std
    f = lambda z: (scale * z * stats.norm.cdf(scale * z)) ** 2 * stats.norm.pdf(z)  # noqa: E731
    return 4 * d * std**2 * integrate.quad(f, -12, 12, epsabs=1e-14)[0]


def test_berts_standard_deviation():
    assert pytest.approx(stats.truncnorm(-2, 2, scale=0.02).std(), rel=1e-10) == figures.BERT_STD


class TestInitialStd:
    @pytest.fixture
    def picture(self):
        return figures.InitialStd(blank())

    def test_branches_follow_quadrature_and_the_uniform_average(self, picture):
        picture.update(**BERT)
        feed_forward, attention = (line.get_xydata() for line in picture.branches)
        for k in (0, 30, 60):
            assert feed_forward[k, 1] == pytest.approx(gelu_branch(feed_forward[k, 0], 768), rel=1e-6)
        np.testing.assert_allclose(attention[:, 1], (768 * attention[:, 0] ** 2) ** 2 / 128)
        assert (feed_forward[0, 0], feed_forward[-1, 0]) == pytest.approx((0.004, 1.1 / 768**0.5))

    def test_guide_is_the_fourth_power_that_small_branches_touch(self, picture):
        picture.update(**BERT)
        guide, feed_forward = picture.guide.get_xydata(), picture.branches[0].get_xydata()
        np.testing.assert_allclose(np.diff(np.log(guide[:, 1])) / np.diff(np.log(guide[:, 0])), 4)
        assert feed_forward[0, 1] / guide[0, 1] == pytest.approx(1, abs=0.03)

    def test_marks_stand_at_the_chosen_and_the_usual_value(self, picture):
        picture.update(**BERT | {"std": 0.03, "width": 256})
        assert set(picture.here.get_xdata()) == {0.03}
        assert set(picture.usual.get_xdata()) == {1 / 16}

    def test_sentence_of_bert_base(self, picture):
        caption = picture.update(**BERT)
        std, share, feed_forward, attention, branches, identity, cosine, gradient, apart = numbers(caption)
        assert (std, share, branches) == (0.0176, 0.49, 24)
        assert feed_forward == pytest.approx(gelu_branch(0.0175925, 768), abs=6e-4)
        assert attention == pytest.approx((768 * 0.0175925**2) ** 2 / 128, abs=6e-6)
        assert (identity, cosine, gradient, apart) == (0.64, 0.1, 1.0, 1.0)
        assert "post-norm" in caption
        assert "theory" not in caption

    @pytest.mark.parametrize(("share", "beyond"), [(1.0, False), (1.2, True)])
    def test_says_where_the_theory_ends(self, picture, share, beyond):
        caption = picture.update(**BERT | {"std": share / 768**0.5})
        assert caption.endswith(" Too large for the theory: scores differ.") is beyond

    def test_curves_span_the_tower_and_start_at_one(self, picture):
        picture.update(**BERT)
        for name, end in (("identity_weight", 0), ("gradient", -1), ("apart", -1)):
            x, y = picture.curves[name].get_data()
            assert (len(x), x[0], x[-1]) == (25, 0, 1)
            assert y[end] == pytest.approx(1)
        x, y = picture.curves["token_correlation"].get_data()
        assert (len(x), x[0]) == (24, 1 / 24)  # the tokens are independent at the start: nothing to draw at 0
        assert y[-1] == pytest.approx(0.1001, abs=1e-4)  # reference value of another implementation

    def test_a_large_standard_deviation_hides_what_lies_far_below_the_axis(self, picture):
        caption = picture.update(**BERT | {"std": 0.2, "layers": 48, "width": 1600})
        assert "identity weight below 1e-09, token cosine 1, gradient" in caption
        assert picture.curves["identity_weight"].get_ydata().min() > 1e-6

    def test_zero_sum_gradient_belongs_to_the_number_of_tokens(self):
        theory = figures.InitialStd.theory(768**-0.5, 12, 768, 128, "post")
        assert theory["apart"][0] == pytest.approx(0.0720, abs=0.002)  # reference value of another implementation
        assert theory["gradient"][0] == pytest.approx(0.2726, abs=0.002)

    @pytest.mark.parametrize("placement", ["post", "pre"])
    def test_measured_towers_follow_the_theory_of_their_scaled_width(self, placement):
        place = dict(std=0.03, layers=4, width=256, tokens=16, placement=placement)
        theory = figures.InitialStd.theory(**place)
        runs = [figures.InitialStd.measure(**place, seed=seed) for seed in range(4)]
        for name, tolerance in (("identity_weight", 0.1), ("gradient", 0.25), ("apart", 0.25), ("second_moment", 0.15)):
            np.testing.assert_allclose(np.mean([run[name] for run in runs], axis=0), theory[name], rtol=tolerance)
        assert not np.array_equal(runs[0]["gradient"], runs[1]["gradient"])

    def test_run_draws_the_mean_of_its_towers_and_a_move_takes_it_away(self):
        place = dict(std=0.1, layers=3, width=128, tokens=16, placement="post")
        picture = figures.InitialStd(blank())
        caption = picture.run(no_bar, **place)
        runs = [figures.InitialStd.measure(**place, seed=seed) for seed in range(3)]
        expected = np.mean([run["gradient"] for run in runs], axis=0)
        np.testing.assert_allclose(picture.points["gradient"].get_ydata(), expected)
        assert caption.startswith("3 real towers of width 128 (circles): identity weight ")
        assert numbers(caption)[-2] == pytest.approx(expected[0], rel=0.06)
        cosines = np.mean([run["token_correlation"] for run in runs], axis=0)
        np.testing.assert_allclose(picture.points["token_correlation"].get_ydata(), cosines[cosines > 1e-6])
        noise = 3 / np.sqrt(6 * 16 * 128)
        assert picture.points["identity_weight"].get_ydata().min() > noise
        picture.update(**place)
        assert all(len(points.get_xdata()) == 0 for points in picture.points.values())

    def test_identity_weights_in_the_noise_are_called_so(self):
        caption = figures.InitialStd(blank()).run(no_bar, std=0.25, layers=8, width=256, tokens=64, placement="post")
        assert "identity weight below 0.01, token cosine 1," in caption


class TestAdamSteps:
    @pytest.fixture
    def picture(self):
        return figures.AdamSteps(blank())

    def test_first_steps(self, picture):
        picture.update(gradient=1e-4, snr=0.1, eps=1e-6)
        g, adam = picture.first["Adam"].get_data()
        np.testing.assert_allclose(adam, g / (g + 1e-6), rtol=1e-12)
        np.testing.assert_allclose(picture.first["SGD"].get_ydata(), g)
        assert set(picture.here.get_xdata()) == {1e-4}

    def test_distance_is_drift_and_diffusion_together(self, picture):
        picture.update(gradient=1e-3, snr=0.2, eps=1e-8)
        T, far = picture.far["Adam"].get_data()
        both = np.hypot(picture.drift.get_ydata(), picture.diffusion.get_ydata())
        np.testing.assert_allclose(far, both, rtol=1e-12)
        np.testing.assert_allclose(far, 1e-3 / (1e-3 + 1e-8) * np.sqrt((T + 0.04 * T**2) / 1.04))
        np.testing.assert_allclose(picture.far["SGD"].get_ydata() / far, 1e-3 + 1e-8)

    def test_sentence(self, picture):
        caption = picture.update(gradient=1e-8, snr=0.1, eps=1e-8)
        gradient, step, sgd, snr, usual, crossing, _, far, sgd_far = numbers(caption)
        assert (gradient, step, sgd, snr) == (1e-8, 0.5, 1e-8, 0.1)
        assert usual == pytest.approx(0.5 * np.sqrt((0.01 + 1 / 19) / 1.01), abs=0.006)
        assert crossing == 100
        distance = np.sqrt((1000 + 0.01 * 1e6) / 1.01)
        assert (far, sgd_far) == pytest.approx((0.5 * distance, 1e-8 * distance), rel=0.06)

    def test_a_clear_signal_drifts_from_the_first_step(self, picture):
        assert "drift wins from the first step on" in picture.update(gradient=1.0, snr=1.0, eps=1e-8)
        assert "drift wins after 1.6 steps" in picture.update(gradient=1.0, snr=0.8, eps=1e-8)


class TestVanishing:
    def test_gradients_and_first_steps_of_the_networks(self):
        picture = figures.Vanishing(blank())
        caption = picture.update(depth=6, activation="sigmoid", gain=1.0, skip=False)
        found = PlainNetworks(6, "sigmoid", 1.0).gradients()
        assert picture.gradients["state"].get_xdata().tolist() == [0, 1, 2, 3, 4, 5, 6]
        np.testing.assert_allclose(picture.gradients["state"].get_ydata(), found["state"])
        for artist, name in ((picture.gradients["weight"], "weight"), (picture.moves["SGD"], "sgd"),
                             (picture.moves["Adam"], "adam")):  # fmt: skip
            assert artist.get_xdata().tolist() == [1, 2, 3, 4, 5, 6]
            np.testing.assert_allclose(artist.get_ydata(), found[name])
        shown = numbers(caption)
        expected = [6, 1, found["state"][0] / found["state"][-1], found["weight"][0] / found["weight"][-1]]
        assert shown[:4] == pytest.approx(expected, rel=0.06)
        assert (shown[-2], shown[-1]) == pytest.approx((found["sgd"][0], found["adam"][0]), rel=0.5)
        assert "skips" not in caption
        assert picture.hint.get_visible()

    def test_skips_are_named_and_change_the_gradient(self):
        picture = figures.Vanishing(blank())
        caption = picture.update(depth=8, activation="tanh", gain=0.4, skip=True)
        assert "8 tanh layers, gain 0.4, with skips." in caption
        assert picture.gradients["state"].get_ydata()[0] > 0.5 * picture.gradients["state"].get_ydata()[-1]

    def test_tiny_gradients_lie_on_the_floor(self):
        picture = figures.Vanishing(blank())
        picture.update(depth=16, activation="sigmoid", gain=0.3, skip=False)
        assert picture.gradients["weight"].get_ydata().min() == 1e-13

    def test_run_trains_both_and_a_move_takes_the_curves_away(self, monkeypatch):
        monkeypatch.setattr(figures.Vanishing, "STEPS", 40)
        picture, place = figures.Vanishing(blank()), dict(depth=2, activation="tanh", gain=1.0, skip=False)
        caption = picture.run(no_bar, **place)
        ends = []
        for name in ("SGD", "Adam"):
            losses = PlainNetworks(**place).train(name.lower(), 40)
            np.testing.assert_allclose(picture.losses[name].get_ydata(), losses.mean(axis=1))
            assert picture.losses[name].get_xdata().tolist() == list(range(41))
            ends += [losses[-1].mean(), losses[-1].std(ddof=1)]
        assert numbers(caption)[2:6] == pytest.approx(ends, abs=0.006)
        assert not picture.hint.get_visible()
        picture.update(**place)
        assert picture.hint.get_visible()
        assert len(picture.losses["SGD"].get_xdata()) == 0

    def test_divergence_is_named_and_leaves_no_infinity(self, monkeypatch):
        monkeypatch.setattr(figures.Vanishing, "STEPS", 5)
        broken = np.where(np.arange(6)[:, None] > 2, np.nan, 0.5) * np.ones(5)
        monkeypatch.setattr(
            PlainNetworks, "train", lambda self, name, steps, progress: [*progress(range(steps))] and broken
        )
        picture = figures.Vanishing(blank())
        assert "SGD diverged, Adam diverged" in picture.run(no_bar, depth=2, activation="relu", gain=1.6, skip=True)
        assert picture.losses["SGD"].get_ydata().tolist() == [0.5] * 3 + [1e3] * 3


class TestGainsOfTheTable:
    def test_gains(self):
        table = Stored("bert_initial_std_sweep")
        gains = figures.gains(table)
        assert list(gains) == ["no head", "with head", "pretrained"]
        assert [len(one["inside"]) for one in gains.values()] == [8, 8, 16]
        assert gains["no head"]["head"] is None
        row = table.row(section="head", head=True)
        means = np.array(row["gains"])[:, -1].mean(axis=0)
        last, head = (means[row["names"].index(name)] for name in ("tower.blocks.7.norm", "head_norm"))
        assert (gains["with head"]["last"], gains["with head"]["head"]) == pytest.approx((last, head))
        assert gains["with head"]["inside"][0] == pytest.approx(means[row["names"].index("embedding_norm")])
        pretrained = gains["pretrained"]
        assert (pretrained["inside"][0], pretrained["last"], pretrained["head"]) == (0.8737, 0.9574, 1.6686)
        assert pretrained["inside"][1:5] == [1.0005, 0.9267, 0.9966, 0.9503]  # attention and feed-forward in turn


class TestWarmUp:
    @pytest.fixture
    def picture(self):
        return figures.WarmUp(blank())

    @pytest.mark.parametrize(("rate", "section", "steps"), [("0.002", "warm-up", 200), ("0.0005", "small steps", 400)])
    def test_curves_are_the_stored_ones(self, picture, rate, section, steps):
        caption = picture.update(rate=rate, seed=1, done=50)
        for name, placement, warmup in (("post, no warm-up", "post", 0), ("pre, warm-up", "pre", 100)):
            row = picture.sweep.row(section=section, placement=placement, warmup=warmup)
            x, loss = picture.losses[name].get_data()
            np.testing.assert_allclose(loss, row["loss"][1])
            assert (x[0], x[-1]) == (2.5, steps - 2.5)
            np.testing.assert_allclose(picture.cosines[name].get_ydata(), row["cosine"][1])
            assert picture.cosines[name].get_xdata()[1] == 5
            at = steps // 10
            assert f"{name} {row['loss'][1][at]:.2f} ({row['cosine'][1][at]:.2f})" in caption
            assert picture.marks[name].get_xydata().tolist() == [[5 * at + 2.5, row["loss"][1][at]]]
        assert f"Learning rate {rate}, step {steps // 2}, seed 1." in caption
        assert [axes.get_xlim() for axes in picture.axes] == [(0, steps)] * 2
        assert set(picture.here[0].get_xdata()) == {steps / 2 + 2.5}

    def test_a_move_along_the_same_run_keeps_the_limits(self, picture):
        picture.update(rate="0.002", seed=1, done=50)
        for axes in picture.axes:
            axes.set_xlim = None  # calling it would fail
        assert "step 0" in picture.update(rate="0.002", seed=1, done=0)
        assert [axes.get_xlim() for axes in picture.axes] == [(0, 200)] * 2

    def test_mean_of_the_seeds(self, picture):
        caption = picture.update(rate="0.002", seed=-1, done=0)
        row = picture.sweep.row(section="warm-up", placement="pre", warmup=0)
        np.testing.assert_allclose(picture.losses["pre, no warm-up"].get_ydata(), np.mean(row["loss"], axis=0))
        assert "step 0, mean of the seeds." in caption

    def test_seed_0_is_a_seed(self, picture):
        picture.update(rate="0.002", seed=0, done=0)
        row = picture.sweep.row(section="warm-up", placement="pre", warmup=0)
        np.testing.assert_allclose(picture.losses["pre, no warm-up"].get_ydata(), row["loss"][0])

    def test_the_end_is_the_last_group(self, picture):
        assert "step 195," in picture.update(rate="0.002", seed=0, done=100)

    def test_what_the_lesson_says_of_the_runs(self, picture):
        stuck, warm = (picture.sweep.row(section="warm-up", placement="post", warmup=warmup) for warmup in (0, 100))
        assert min(stuck["final"]) > 1.9
        assert max(warm["final"]) < 1.4
        cosine = np.array(warm["cosine"])
        assert np.array(stuck["cosine"])[:, 4:].mean() > 0.9 > 0.5 > cosine[:, -1].max()
        assert cosine.max(axis=1).min() > 0.8  # they align, too, and part


def test_gains_are_drawn_as_bars():
    picture = figures.Gains(blank())
    caption = picture.update()
    for axes, gain in zip(picture.panels, picture.gains.values(), strict=True):
        heights = [patch.get_y() + patch.get_height() for patch in axes.patches]
        assert heights == pytest.approx([*gain["inside"], gain["last"], *([gain["head"]] if gain["head"] else [])])
        assert {patch.get_y() for patch in axes.patches} == {1}
        assert [round(patch.get_x() + 0.4) for patch in axes.patches] == list(range(len(heights)))
    assert "pretrained: last Norm of the tower 0.96, of the head 1.67, others 0.87 to 1.00." in caption
    assert re.search(r"no head: last Norm of the tower 1\.\d\d, others", caption)


FURNITURE = {
    figures.InitialStd: (
        ["feed-forward", "attention", "fourth power", "chosen std", "1/√d", "identity weight", "token cosine",
         "gradient", "gradient, zero-sum"],
        [("variance of a branch's output", "real standard deviation of the weights", "$E F(x)^2$", "log", "log",
          (0.004, 0.1), (1e-6, 1e2)),
         ("along the tower", "height $l/L$ (input 0, output 1)", "relative to 1", "linear", "log",
          (-0.02, 1.02), (1e-4, 1e2))],
    ),
    figures.AdamSteps: (
        ["Adam", "SGD", "chosen gradient", "Adam's drift alone", "Adam's random walk alone"],
        [("first step", "gradient $|g|$", "step / learning rate", "log", "log", (1e-14, 1e2), (1e-9, 1e2)),
         ("distance after $T$ steps", "$T$", "distance / learning rate", "log", "log", (1, 1e6), (1e-9, 1e7))],
    ),
    figures.Vanishing: (
        ["gradient of states", "gradient of weights", "SGD", "Adam", "coin toss"],
        [("gradient at the start", "layer", "", "linear", "log", (-0.5, 16.5), (1e-13, 1e5)),
         ("first step / weight", "layer", "", "linear", "log", (-0.5, 16.5), (1e-13, 1e5)),
         ("loss, mean of 5", "step", "", "linear", "linear", (0, 300), (-0.03, 1))],
    ),
    figures.WarmUp: (
        ["post, no warm-up", "post, warm-up", "pre, no warm-up", "pre, warm-up", "ln 16"],
        [("masked tokens", "step", "loss in nats", "linear", "linear", None, (0.4, 3)),
         ("output of the last layer", "step", "cosine between tokens", "linear", "linear", None, (-0.1, 1.05))],
    ),
}  # fmt: skip


@pytest.mark.parametrize("picture", FURNITURE, ids=lambda picture: picture.__name__)
def test_panels_are_labelled_and_wide_enough(picture):
    figure = blank()
    made = picture(figure)
    labels, panels = FURNITURE[picture]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == labels
    for axes, (title, x, y, x_scale, y_scale, x_limits, y_limits) in zip(figure.axes, panels, strict=True):
        assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == (title, x, y)
        assert (axes.get_xscale(), axes.get_yscale(), axes.get_ylim()) == (x_scale, y_scale, y_limits)
        assert x_limits is None or axes.get_xlim() == x_limits
        assert axes.get_subplotspec().get_geometry()[:2] == (1, len(panels))
    lines = [line for axes in figure.axes for line in axes.lines]
    assert all(isinstance(line.get_color(), str) for line in lines)
    assert type(made) is picture


def test_the_same_colour_means_the_same_optimiser_or_run():
    steps, plain, runs = (kind(blank()) for kind in (figures.AdamSteps, figures.Vanishing, figures.WarmUp))
    for name in ("SGD", "Adam"):
        lines = steps.first[name], steps.far[name], plain.moves[name], plain.losses[name]
        assert len({line.get_color() for line in lines}) == 1
    for name, line in runs.losses.items():
        assert line.get_color() == runs.cosines[name].get_color() == runs.marks[name].get_color()
    assert len({line.get_color() for line in runs.losses.values()}) == 4


def test_references_are_where_they_belong():
    plain, runs = figures.Vanishing(blank()), figures.WarmUp(blank())
    assert set(plain.hint.axes.lines[-1].get_ydata()) == {np.log(2)}
    assert plain.hint.get_text() == "press the button\nto train"
    assert plain.hint.get_position() == (0.5, 0.45)
    assert np.log(16) in {line.get_ydata()[0] for line in runs.axes[0].lines if len(line.get_ydata())}
    bars = figures.Gains(blank())
    bars.update()
    assert len({axes.get_ylim() for axes in bars.panels}) == 1
    assert bars.panels[0].get_ylim() == (0.8, 1.8)
    assert [axes.get_title() for axes in bars.panels] == ["no head", "with head", "pretrained"]
    assert [text.get_text() for text in bars.panels[0].figure.legends[0].get_texts()] == [
        "other Norms",
        "last of the tower",
        "head",
    ]
