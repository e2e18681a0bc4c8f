"""Theory of residual towers and of optimiser steps, against reference values, other derivations and torch.optim."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from helpers.optimizer_steps import (
    AlphaSchedule,
    adam_displacement,
    adam_first_step,
    adam_step_ratio,
    equivalent_rates,
    linear_warmup,
)
from helpers.residual_theory import (
    PLACEMENTS,
    branch_variance,
    residual_moments,
    residual_scales,
    signal_propagation,
)

quick = settings(max_examples=25, deadline=None, derandomize=True)
BERT = 0.017592513220684795008  # the "0.02" of BERT, truncated at two standard deviations


# --- linear branches ------------------------------------------------------------------------------


def test_residual_moments_by_hand():
    post = residual_moments(3, 1.0, "post")
    assert set(post) == {"second_moment", "identity_weight", "gradient_ratio"}
    np.testing.assert_allclose(post["second_moment"], 1)
    np.testing.assert_allclose(post["identity_weight"], [1, 2**-0.5, 0.5, 2**-1.5], rtol=1e-14)
    np.testing.assert_allclose(post["gradient_ratio"], 1)
    pre = residual_moments(3, 1.0, "pre")
    np.testing.assert_allclose(pre["second_moment"], [1, 2, 3, 4])
    np.testing.assert_allclose(pre["identity_weight"], [1, 2**-0.5, 3**-0.5, 0.5], rtol=1e-14)
    np.testing.assert_allclose(pre["gradient_ratio"], [2, 2**0.5, (4 / 3) ** 0.5, 1], rtol=1e-14)
    none = residual_moments(3, 3.0, "none")
    np.testing.assert_allclose(none["second_moment"], [1, 4, 16, 64])
    np.testing.assert_allclose(none["identity_weight"], [1, 0.5, 0.25, 0.125])
    np.testing.assert_allclose(none["gradient_ratio"], [8, 4, 2, 1])
    for placement in ("rezero", "fixup"):
        for values in residual_moments(3, 5.0, placement).values():
            np.testing.assert_array_equal(values, 1)
    deep = residual_moments(4, 8.0, "deepnorm")  # α² = 2, β⁴ = 1/16: each step 1 + 8/(16·2)
    np.testing.assert_allclose(deep["identity_weight"], 1.25 ** (-np.arange(5) / 2), rtol=1e-14)
    np.testing.assert_allclose(deep["second_moment"], 1)
    np.testing.assert_allclose(deep["gradient_ratio"], 1)


@quick
@given(depth=st.integers(0, 60), s2=st.floats(0, 4), placement=st.sampled_from(PLACEMENTS))
def test_product_of_signal_and_gradient_is_constant(depth, s2, placement):
    moments = residual_moments(depth, s2, placement)
    product = moments["second_moment"] * moments["gradient_ratio"] ** 2
    np.testing.assert_allclose(product, product[-1], rtol=1e-10)
    assert all(values.shape == (depth + 1,) for values in moments.values())
    assert moments["identity_weight"][0] == moments["gradient_ratio"][-1] == 1
    assert (np.diff(moments["identity_weight"]) <= 0).all()


def test_reference_identity_weights():
    assert residual_moments(24, 0.25, "post")["identity_weight"][-1] == pytest.approx(1.25**-12, rel=1e-13)
    assert residual_moments(24, 0.1400592, "post")["identity_weight"][-1] == pytest.approx(0.20743, abs=6e-6)
    assert residual_moments(24, 1.0, "post")["identity_weight"][-1] == pytest.approx(2**-12, rel=1e-13)  # sublayers


def test_scales():
    assert residual_scales("deepnorm", 24) == pytest.approx((2.2133638394, 0.3194715521), rel=1e-10)
    for placement, expected in (("post", 1), ("pre", 1), ("none", 1), ("rezero", 0), ("fixup", 0)):
        assert residual_scales(placement, 7) == (1, expected)
    assert residual_scales("deepnorm", 0) == residual_scales("deepnorm", 1) == (1, 0.25**0.25)


# --- Transformer branches -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("std", "feed_forward"),
    [
        (0.005, 0.000381738),
        (0.01, 0.00666497),
        (BERT, 0.0748223),
        (0.02, 0.130848),
        (0.03, 0.766886),
        (768**-0.5, 4 * (1 / 3 + 1 / (2 * math.pi * math.sqrt(3)))),
        (0.05, 6.77319),
        (0.1, 116.191),
    ],
)
def test_branch_variance_of_bert_base(std, feed_forward):
    attention, ours = branch_variance(std, 768, 3072, 64)
    assert ours == pytest.approx(feed_forward, rel=5e-6)
    a = 768 * std**2
    assert attention == pytest.approx(a**2 / 64, rel=1e-13)
    aligned, same = branch_variance(std, 768, 3072, 64, token_correlation=1.0)
    assert (aligned, same) == (pytest.approx(a**2, rel=1e-13), ours)
    opposed, _ = branch_variance(std, 768, 3072, 64, token_correlation=-1 / 63)
    assert 0 <= opposed < 1e-15
    assert branch_variance(std, 768, 3072, 64, 0.3)[0] == pytest.approx(a**2 * (1 / 64 + 63 / 64 * 0.3), rel=1e-13)
    assert branch_variance(std, 768, 3072, 64, activation="relu")[1] == pytest.approx(3072 * std**2 * a / 2, rel=1e-13)


def test_branch_variance_grows_like_the_fourth_power():
    small, double = (branch_variance(s, 768, 3072, 128) for s in (1e-4, 2e-4))
    assert double[0] / small[0] == pytest.approx(16, rel=1e-10)
    assert double[1] / small[1] == pytest.approx(16, rel=1e-4)
    assert small[1] == pytest.approx(768 * 3072 * 1e-16 / 4, rel=1e-4)
    root = optimize.brentq(lambda s: branch_variance(s, 768, 3072, 128)[1] - 1, 0.01, 0.1)
    assert root == pytest.approx(0.0318966, abs=6e-8)
    at = branch_variance(BERT, 768, 3072, 128)[1] / branch_variance(768**-0.5, 768, 3072, 128)[1]
    assert at == pytest.approx(0.04399, abs=6e-6)


@pytest.mark.parametrize(
    ("layers", "d", "std", "placement", "identity", "rho", "v", "iid", "zero_sum"),
    [
        (12, 768, BERT, "post", 0.63771, 0.1001, 1, 1.0133, 1.0101),
        (12, 768, BERT, "pre", 0.72053, 0.0704, 1.9262, 1.4057, 1.4026),
        (12, 768, 0.02, "post", 0.45361, 0.2083, 1, 1.0019, 0.9961),
        (12, 768, 0.02, "pre", 0.61452, 0.1216, 2.6481, 1.650, 1.645),
        (12, 768, 0.03, "post", 0.00949, 0.9310, 1, 0.4204, 0.3576),
        (12, 768, 768**-0.5, "post", 1.343e-4, 0.9973, 1, 0.2726, 0.0720),
        (12, 768, 768**-0.5, "pre", 0.19850, 0.4943, 25.380, 4.628, 4.577),
        (24, 1024, BERT, "post", 0.15686, 0.5313, 1, 0.8595, 0.8418),
        (24, 1024, 0.02, "post", 0.03215, 0.8354, 1, 0.5788, 0.5380),
        (24, 1024, 1 / 32, "post", 5.4e-9, 1, 1, 0.3435, 0.00162),
        (48, 1600, BERT, "post", 8.25e-6, 0.9996, 1, 0.3052, 0.0281),
    ],
)
def test_reference_towers(layers, d, std, placement, identity, rho, v, iid, zero_sum):
    tower = signal_propagation(layers, d, 4 * d, 128, std, placement)
    assert tower["identity_weight"][-1] == pytest.approx(identity, rel=4e-3)
    assert tower["token_correlation"][-1] == pytest.approx(rho, abs=6e-5)
    assert tower["second_moment"][-1] == pytest.approx(v, rel=3e-5)
    assert tower["gradient_norm"][0] == pytest.approx(iid, rel=4e-4)
    other = signal_propagation(layers, d, 4 * d, 128, std, placement, gradient_correlation=-1 / 127)
    assert other["gradient_norm"][0] == pytest.approx(zero_sum, rel=4e-3)
    assert all(values.shape == (2 * layers + 1,) for values in other.values())


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("layers", [0, 1, 5])
def test_one_token_and_relu_are_the_homogeneous_case(placement, layers):
    """One token, ReLU, d_ff = 2d: both branches have s² = d² std⁴ in either direction, as residual_moments wants."""
    d, std = 10, 0.25
    tower = signal_propagation(layers, d, 2 * d, 1, std, placement, "relu")
    exact = residual_moments(2 * layers, d**2 * std**4, placement)
    np.testing.assert_allclose(tower["second_moment"], exact["second_moment"], rtol=1e-12)
    np.testing.assert_allclose(tower["identity_weight"], exact["identity_weight"], rtol=1e-12)
    np.testing.assert_allclose(tower["gradient_norm"], exact["gradient_ratio"], rtol=1e-12)


def second_order(f, a: float, r: float) -> float:
    """E f(u)f(v) by Gauss-Hermite quadrature in two dimensions."""
    z, w = np.polynomial.hermite_e.hermegauss(60)
    u, v = math.sqrt(a) * z[:, None], math.sqrt(a) * (r * z[:, None] + math.sqrt(1 - r**2) * z)
    return float(np.einsum("i,j,ij->", w, w, f(u) * f(v)) / (2 * math.pi))


def gelu(x):
    return x * special.ndtr(x)


def gelu_slope(x):
    return special.ndtr(x) + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


@pytest.mark.parametrize("placement", ["post", "pre", "none", "deepnorm"])
def test_two_layers_step_by_step(placement):
    """The recursion written out for second moments M = E x_i x_j of two tokens i, j, own (same token) and other."""
    d, d_ff, n, std, rho0, rho_g = 8, 20, 6, 0.3, 0.25, -0.1
    skip, beta = residual_scales(placement, 4)
    first, second = d * (beta * std) ** 2, d_ff * (beta * std) ** 2
    own, other, identity, ups = 1.0, rho0, 1.0, [(1.0, rho0, 1.0)]
    totals, entering = [], []
    for layer in range(4):
        scale = 1 / own if placement == "pre" else 1.0
        x_own, x_other = scale * own, scale * other
        if layer % 2 == 0:
            mean = x_own / n + (1 - 1 / n) * x_other
            f_own = f_other = first**2 * mean
        else:
            f_own = second * second_order(gelu, first * x_own, 1.0)
            f_other = second * second_order(gelu, first * x_own, x_other / x_own)
        entering.append((x_own, x_other / x_own, scale))
        new_own, new_other = skip**2 * own + f_own, skip**2 * other + f_other
        identity *= skip**2 * own / new_own
        totals.append(new_own)
        norm = new_own if placement in ("post", "deepnorm") else 1.0
        own, other = new_own / norm, new_other / norm
        ups.append((own, other / own, math.sqrt(identity)))
    g_own, g_other, downs = 1.0, rho_g, [(1.0, rho_g)]
    for layer in reversed(range(4)):
        norm = totals[layer] if placement in ("post", "deepnorm") else 1.0
        g_own, g_other = g_own / norm, g_other / norm
        x_own, r, scale = entering[layer]
        if layer % 2 == 0:
            f_own = f_other = first**2 * (g_own / n + (1 - 1 / n) * g_other)
        else:
            f_own = first * second * second_order(gelu_slope, first * x_own, 1.0) * g_own
            f_other = first * second * second_order(gelu_slope, first * x_own, r) * g_other
        g_own, g_other = skip**2 * g_own + scale * f_own, skip**2 * g_other + scale * f_other
        downs.append((math.sqrt(g_own), g_other / g_own))
    tower = signal_propagation(2, d, d_ff, n, std, placement, "gelu", rho_g, rho0)
    columns = np.array(ups).T
    np.testing.assert_allclose(tower["second_moment"], columns[0], rtol=1e-8)
    np.testing.assert_allclose(tower["token_correlation"], columns[1], rtol=1e-7)
    np.testing.assert_allclose(tower["identity_weight"], columns[2], rtol=1e-8)
    down = np.array(downs[::-1]).T
    np.testing.assert_allclose(tower["gradient_norm"], down[0], rtol=1e-8)
    np.testing.assert_allclose(tower["gradient_correlation"], down[1], rtol=1e-7)


def test_silent_branches_change_nothing():
    for placement in ("rezero", "fixup"):
        tower = signal_propagation(3, 8, 32, 5, 0.4, placement, token_correlation=0.3, gradient_correlation=-0.25)
        for key, value in (("second_moment", 1), ("token_correlation", 0.3), ("gradient_correlation", -0.25)):
            np.testing.assert_array_equal(tower[key], value)
        np.testing.assert_array_equal(tower["gradient_norm"], tower["identity_weight"])


def test_aligned_tokens_stay_aligned():
    tower = signal_propagation(4, 8, 32, 5, 0.3, token_correlation=1.0)
    np.testing.assert_allclose(tower["token_correlation"], 1, rtol=1e-12)
    summed = signal_propagation(4, 8, 32, 5, 0.3, token_correlation=1.0, gradient_correlation=-0.25)
    np.testing.assert_allclose(summed["gradient_correlation"], -0.25, rtol=1e-12)  # then zero sums stay zero sums


# --- steps ----------------------------------------------------------------------------------------


def test_adam_ratio_is_that_of_an_exponential_average():
    """Oracle: the average of independent gradients μ + σ ε with weights (1-β)βᵏ, its moments summed term by term."""
    for beta in (0.0, 0.5, 0.9, 0.99):
        w = (1 - beta) * beta ** np.arange(20_000)
        for r in (0.0, 0.01, 0.3, 1.0, 30.0):
            rms, mean = adam_step_ratio(r, beta)
            second = (r * w.sum()) ** 2 + (w**2).sum()
            assert rms == pytest.approx(math.sqrt(second / (1 + r**2)), rel=1e-12)
            assert mean == pytest.approx(r / math.sqrt(1 + r**2), rel=1e-12, abs=1e-300)
    assert adam_step_ratio(0.0)[0] == pytest.approx(0.22941573387, rel=1e-10)
    for r, expected in ((0.1, 0.2490), (0.3, 0.3617), (1, 0.7255), (3, 0.9515)):
        assert adam_step_ratio(r)[0] == pytest.approx(expected, abs=6e-5)
    rms, mean = adam_step_ratio([0.0, 1e-9, math.inf])
    np.testing.assert_allclose(mean, [0, 1e-9, 1], rtol=1e-12)
    assert rms[2] == 1


def test_adam_of_torch_under_pure_noise_takes_steps_of_that_size():
    weight = torch.zeros(4000, requires_grad=True)
    adam, generator = torch.optim.Adam([weight], lr=1.0, betas=(0.9, 0.999)), torch.Generator().manual_seed(0)
    for _ in range(300):
        before = weight.detach().clone()
        weight.grad = torch.randn(4000, generator=generator) * 1e-5
        adam.step()
    step = (weight.detach() - before).double()
    assert float(step.square().mean().sqrt()) == pytest.approx(float(adam_step_ratio(0.0)[0]), rel=0.05)
    away = float(weight.detach().double().square().mean().sqrt())
    assert away == pytest.approx(float(adam_displacement(300, 0.0)), rel=0.1)


def test_displacement():
    for n, r in ((0, 0.3), (1, 0.0), (100, 0.1), (3000, 2.0)):
        assert adam_displacement(n, r) == pytest.approx(math.sqrt((n + (r * n) ** 2) / (1 + r**2)), rel=1e-12)
    assert adam_displacement(50, math.inf) == pytest.approx(50, rel=1e-12)
    assert adam_displacement([1, 2, 3], [[0.0], [1.0]]).shape == (2, 3)
    single = np.float32([0.3])
    assert adam_displacement(single, single).dtype == np.float64
    assert adam_step_ratio(single)[0].dtype == np.float64
    assert adam_first_step(single).dtype == np.float64


@pytest.mark.parametrize("eps", [1e-8, 1e-3])
def test_first_step_is_that_of_torch(eps):
    g = [3.0, -1e-5, 1e-8, 0.0, -1e4]
    weight = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    weight.grad = torch.tensor(g, dtype=torch.float64)
    torch.optim.Adam([weight], lr=0.01, eps=eps).step()
    np.testing.assert_allclose(adam_first_step(g, 0.01, eps), weight.detach().numpy(), rtol=1e-9)
    assert adam_first_step(1e-8) == pytest.approx(-0.0005, rel=1e-12)
    assert adam_first_step(1.0, lr=0.0) == 0


@pytest.mark.parametrize(("optimizer", "options"), [("adam", {"eps": 1e-3}), ("sgd", {}), ("sgd", {"momentum": 0.9})])
def test_equivalent_rates_give_the_same_trajectory(optimizer, options):
    c, target = 0.3, torch.tensor([1.0, -2.0, 0.01], dtype=torch.float64)
    lr, eps = equivalent_rates(c, 0.05, options.get("eps", 0.0), optimizer)
    paths = []
    for factor, rate, options_used in (
        (c, 0.05, options),
        (1.0, lr, options | ({"eps": eps} if "eps" in options else {})),
    ):
        weight = torch.full((3,), 0.2 * c / factor, dtype=torch.float64, requires_grad=True)
        steered = (torch.optim.Adam if optimizer == "adam" else torch.optim.SGD)([weight], lr=rate, **options_used)
        for _ in range(40):
            steered.zero_grad()
            ((factor * weight - target) ** 2).sum().backward()
            steered.step()
        paths.append(factor * weight.detach().numpy())
    np.testing.assert_allclose(paths[0], paths[1], rtol=1e-12)
    assert np.abs(paths[0] - 0.2 * c).max() > 0.1
    assert equivalent_rates(0.5, 0.1, 1e-8, "sgd") == (0.025, 1e-8)
    assert equivalent_rates(0.5, 0.1) == (0.05, 2e-8)


def test_schedules():
    rates = [linear_warmup(step, 5, 2.0) for step in range(8)]
    np.testing.assert_allclose(rates, [0.4, 0.8, 1.2, 1.6, 2, 2, 2, 2], rtol=1e-12)
    assert linear_warmup(3, 0, 2.0) == 2
    assert linear_warmup(0, 1, 2.0) == 2
    alpha = AlphaSchedule(200)
    assert [alpha(step) for step in (0, 50, 200, 10_000)] == [0, 0.25, 1, 1]
    assert alpha == AlphaSchedule(200)
