"""The contrastive losses against mpmath: values, gradients, and where each spelling of InfoNCE loses them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp
from torch.nn import functional as F

from helpers.contrastive import (
    adam_step_fraction,
    contrastive_gradient_oracle,
    flat_nce,
    flat_nce_stop_gradient,
    info_nce,
    info_nce_cross_entropy,
    info_nce_log1p,
    info_nce_naive,
    log_mean_info_nce,
    log_xi,
    nt_xent_scores,
    zero_gradient_gap,
)

ROWS = {  # scores, target: ξ from 1e-16 to 1e7
    "A": ([5.0, 1.0, 0.0, -1.0], 0),
    "B": ([20.0, 0.0], 0),
    "C": ([40.0, 3.0, 3.5, -2.0, 1.0], 0),
    "D": ([0.9 / 0.07, 0.1 / 0.07, -0.2 / 0.07, 0.3 / 0.07], 2),
}
SPELLINGS = [info_nce, info_nce_cross_entropy, info_nce_naive, info_nce_log1p]
EXACT = [info_nce, info_nce_log1p, flat_nce, flat_nce_stop_gradient]  # of full relative accuracy
EVERY = [*SPELLINGS, flat_nce, flat_nce_stop_gradient]
HALF = [torch.float16, torch.bfloat16]
quick = settings(max_examples=30, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
gaps = st.sampled_from([0.0, 3.0, 20.0, 60.0])


def sample(seed: int, rows: int = 5, columns: int = 6, gap: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores whose targets lie about `gap` above the rest."""
    rng = np.random.default_rng(seed)
    scores, target = torch.tensor(rng.normal(size=(rows, columns)) * 3), torch.tensor(rng.integers(0, columns, rows))
    scores[torch.arange(rows), target] += gap
    return scores, target


def row(name: str, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    scores, target = ROWS[name]
    return torch.tensor([scores], dtype=dtype), torch.tensor([target])


def with_gap(gap: float, dtype: torch.dtype, columns: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """One row, the target in column 0, all negatives at 0."""
    return torch.tensor([[gap] + [0.0] * (columns - 1)], dtype=dtype), torch.tensor([0])


def gradient(loss, scores: torch.Tensor, target: torch.Tensor, **options) -> torch.Tensor:
    scores = scores.detach().clone().requires_grad_()
    loss(scores, target, **options).backward()
    return scores.grad


def mp_loss(name: str, scores: list[float], t: int) -> mp.mpf:
    """From the definition, at the precision in force."""
    xi = mp.fsum(mp.exp(mp.mpf(s) - mp.mpf(scores[t])) for i, s in enumerate(scores) if i != t)
    return mp.log(xi) if name == "flat_nce" else mp.log(1 + xi)


def oracle(loss, scores: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    name = "flat_nce" if loss in (flat_nce, flat_nce_stop_gradient) else "info_nce"
    return torch.tensor(contrastive_gradient_oracle(scores, target, name), dtype=torch.float64)


def errors(loss, scores: torch.Tensor, target: torch.Tensor, **options) -> tuple[float, float]:
    """Relative error of dL/ds_t, and the largest of the dL/ds_i, in one row of scores."""
    exact = oracle(loss, scores, target)
    error = ((gradient(loss, scores, target, reduction="sum", **options).double() - exact) / exact).abs()[0]
    others = torch.arange(scores.shape[1]) != target
    return error[target].item(), error[others].max().item()


def same(have: torch.Tensor, due, rtol: float = 1e-12, atol: float = 0.0) -> None:
    torch.testing.assert_close(have, torch.as_tensor(due, dtype=have.dtype), rtol=rtol, atol=atol)


# --- the oracle and the reference rows ------------------------------------------------------------


@pytest.mark.parametrize("name", ["info_nce", "flat_nce"])
@pytest.mark.parametrize("key", ROWS)
def test_oracle_is_the_derivative_of_the_loss(name, key):
    """Oracle: mpmath's numerical derivative of the definition, 120 digits."""
    scores, t = ROWS[key]
    ours = contrastive_gradient_oracle([scores], [t], name)[0]
    with mp.workdps(120):
        for i, have in enumerate(ours):
            due = mp.diff(lambda s, i=i: mp_loss(name, [*scores[:i], s, *scores[i + 1 :]], t), mp.mpf(scores[i]))
            assert have == pytest.approx(float(due), rel=1e-15)


def test_oracle_is_per_row_and_takes_tensors_lists_and_masked_negatives():
    scores, target = sample(0)
    whole = contrastive_gradient_oracle(scores, target, "info_nce")
    for one, t, due in zip(scores.tolist(), target.tolist(), whole, strict=True):
        assert contrastive_gradient_oracle([one], [t], "info_nce")[0] == due
    assert contrastive_gradient_oracle([[1.0, -math.inf, 1.0]], [0], "flat_nce") == [[-1.0, 0.0, 1.0]]
    assert contrastive_gradient_oracle([[1000.0, 0.0]], [0], "info_nce") == [[-0.0, 0.0]]
    before = mp.dps
    rough, fine = (contrastive_gradient_oracle([[1.0, 0.3]], [0], "info_nce", dps=dps)[0][1] for dps in (15, 50))
    assert rough == pytest.approx(fine, rel=1e-14)
    assert mp.dps == before


REFERENCE = {  # ξ, InfoNCE, its gradient, log ξ, its gradient; mpmath, 40 digits
    "A": (
        0.0275323380644860058,
        0.0271601394618445443,
        [-0.02679461954097461, 0.0178248783130606689, 0.00655740627275772041, 0.00241233495515622067],
        -3.5923940355556197,
        [-1, 0.66524095577482189, 0.244728471054797652, 0.090030573170380458],
    ),
    "B": (
        2.06115362243855783e-9,
        2.0611536203143807e-9,
        [-2.06115361819020358e-9, 2.06115361819020358e-9],
        -20,
        [-1, 1],
    ),
    "C": (
        2.38139823901500477e-16,
        2.38139823901500448e-16,
        None,
        -35.9736736773447435,
        [-1, 0.358320900970914868, 0.590771291167181543, 0.00241434723940657667, 0.0484934606224970114],
    ),
    "D": (
        None,
        15.7144861659113292,
        [0.999799568463469848, 1.08779594987409671e-5, -0.999999850278085369, 1.89403855116779704e-4],
        15.7144860161894034,
        None,
    ),
}


@pytest.mark.parametrize("key", REFERENCE)
def test_reference_values(key):
    xi, loss, slope, log_of_xi, flat_slope = REFERENCE[key]
    scores, target = row(key)
    same(info_nce(scores, target), loss)
    same(log_xi(scores, target), [log_of_xi])
    same(flat_nce(scores, target), log_of_xi)
    if xi:
        same(log_xi(scores, target).exp(), [xi])
    if slope:
        same(gradient(info_nce, scores, target), [slope])
    if flat_slope:
        same(gradient(flat_nce, scores, target), [flat_slope])


@pytest.mark.parametrize("key", ROWS)
def test_values_against_mpmath_in_float64_and_float32(key):
    t = ROWS[key][1]
    for dtype, rtol in ((torch.float64, 1e-14), (torch.float32, 1e-5)):  # float32: of the row as float32 rounds it
        x, target = row(key, dtype)
        with mp.workdps(50):
            due = {name: float(mp_loss(name, x[0].tolist(), t)) for name in ("info_nce", "flat_nce")}
        same(info_nce(x, target), due["info_nce"], rtol)
        same(info_nce_log1p(x, target), due["info_nce"], rtol)
        same(flat_nce(x, target), due["flat_nce"], rtol)


@pytest.mark.parametrize("loss", EXACT)
@pytest.mark.parametrize("gap", [-60.0, -9.0, 0.0, 5.0, 17.0, 30.0, 45.0, 80.0])
@pytest.mark.parametrize("columns", [2, 16])
def test_gradients_are_exact_to_rounding_at_any_gap(loss, gap, columns):
    for dtype, tolerance in ((torch.float64, 1e-13), (torch.float32, 2e-5)):
        scores, target = sample(7, 1, columns)
        scores[0, target] = scores.max() + gap
        assert max(errors(loss, scores.to(dtype), target)) < tolerance


@pytest.mark.parametrize("gap", [19.0, 21.0, 30.0, 39.0, 41.0])
def test_large_losses_keep_their_last_digits(gap):
    """softplus(v) is above v by log(1 + e⁻ᵛ), which float64 sees up to v = 33."""
    scores, target = with_gap(-gap, torch.float64)
    same(info_nce(scores, target), gap + math.log1p(math.exp(-gap)), 1e-15)


@pytest.mark.parametrize("gap", [200.0, 1000.0])
def test_gaps_beyond_the_range_of_exp(gap):
    """ξ underflows or overflows float32; closed form: v = log 2 - gap, and softplus(v) = v or 0."""
    for sign in (1, -1):
        scores, target = with_gap(sign * gap, torch.float32, 3)
        v = math.log(2) - sign * gap
        same(log_xi(scores, target), [v], 1e-6)
        same(info_nce(scores, target), max(v, 0.0), 1e-6)
        same(gradient(flat_nce, scores, target), [[-1, 0.5, 0.5]], 1e-6)
        same(gradient(info_nce, scores, target), [[-1, 0.5, 0.5]] if sign < 0 else [[0, 0, 0]], 1e-6)
        assert flat_nce_stop_gradient(scores, target) == 1


def test_one_extreme_row_does_not_cost_the_others_their_digits():
    scores = [[500.0, 0.0, 1.0], [2.0, 1.0, 0.0], [-500.0, 3.0, 1.0], [-1999.0, -1998.0, -2000.0]]
    scores, target = torch.tensor(scores, dtype=torch.float64), torch.tensor([0, 0, 0, 0])
    for loss in (info_nce, flat_nce):
        whole = gradient(loss, scores, target, reduction="sum")
        for k in range(4):
            same(loss(scores, target, "none")[k], loss(scores[k : k + 1], target[:1]), 1e-14)
            same(whole[k : k + 1], gradient(loss, scores[k : k + 1], target[:1]), 1e-14)
        same(whole, oracle(loss, scores, target), 1e-13)


# --- the spellings of InfoNCE: what each loses ----------------------------------------------------


@quick
@given(seed=seeds, gap=st.sampled_from([-3.0, 0.0, 3.0]))
def test_spellings_agree_in_float64_where_nothing_is_small(seed, gap):
    scores, target = sample(seed, gap=gap)
    for loss in SPELLINGS[1:]:
        same(loss(scores, target), info_nce(scores, target), 1e-10)
        same(gradient(loss, scores, target), gradient(info_nce, scores, target), 1e-8, 1e-12)


@pytest.mark.parametrize("gap", [17.0, 30.0])
@pytest.mark.parametrize("columns", [2, 9])
def test_cross_entropy_loses_the_target_and_nothing_else(gap, columns):
    scores, target = with_gap(gap, torch.float32, columns)
    slope = gradient(info_nce_cross_entropy, scores, target)[0]
    assert slope[0] == 0
    assert slope.sum() > 0  # should be 0
    assert info_nce_cross_entropy(scores, target) == 0
    assert errors(info_nce_cross_entropy, scores, target)[1] < 1e-5


def test_cross_entropy_is_quantised_before_it_is_zero():
    """dL/ds_t = p_t - 1 is a multiple of 2⁻²⁴, so that its relative error grows like 2⁻²⁴/ξ."""
    for gap in np.linspace(8, 16, 33):
        scores, target = with_gap(gap, torch.float32)
        steps = gradient(info_nce_cross_entropy, scores, target)[0, 0].item() * 2**24
        assert steps == round(steps)
        assert abs(steps - 2**24 * oracle(info_nce, scores, target)[0, 0].item()) <= 1.5


def test_naive_logarithm_dies_in_value_and_lives_in_gradient():
    scores, target = with_gap(17.5, torch.float32)
    assert info_nce_naive(scores, target) == 0
    assert max(errors(info_nce_naive, scores, target)) < 1e-5
    same(info_nce_log1p(scores, target), math.exp(-17.5), 1e-5)


def test_ours_is_at_least_as_accurate_as_every_spelling():
    """Rounding of exp alone remains: up to |gap| units in the last place of the negatives, as in all of them."""
    for gap in (5.0, 8.0, 14.0, 17.0, 30.0, 60.0):
        for columns in (2, 64):
            scores, target = sample(3, 1, columns)
            scores[0, target] = scores.max() + gap
            scores = scores.float()
            mine = errors(info_nce, scores, target)
            for loss in SPELLINGS[1:]:
                for ours, theirs in zip(mine, errors(loss, scores, target), strict=True):
                    assert ours <= max(1.5 * theirs, 1e-6)


@pytest.mark.parametrize("dtype", HALF)
def test_half_precision(dtype):
    """At a gap of 8 cross_entropy has lost the pull (zero from 7.6 and 5.5 on); the exact forms have not."""
    assert errors(info_nce_cross_entropy, *with_gap(8.0, dtype))[0] == 1
    scores, target = with_gap(8.0, dtype, 4)
    unit = torch.finfo(dtype).eps
    for loss in (info_nce, flat_nce):
        assert max(errors(loss, scores, target)) < unit
        assert max(errors(loss, scores, target, upcast=False)) < 4 * unit
    assert max(errors(flat_nce_stop_gradient, scores, target)) < 4 * unit


def test_ratio_as_it_stands_breaks_where_ours_does_not():
    scores, target = with_gap(14.0, torch.float16)

    def ratio(scores, target):
        xi = (scores[:, 1:] - scores[:, :1]).exp().sum(1)
        return (xi / xi.detach()).mean()

    assert not gradient(ratio, scores, target).isfinite().all()
    same(gradient(flat_nce_stop_gradient, scores, target), [[-1, 1]], 1e-3)


# --- what holds for all scores --------------------------------------------------------------------


@quick
@given(seed=seeds, gap=gaps)
def test_gradients_sum_to_zero_and_ignore_a_shift_of_the_row(seed, gap):
    scores, target = sample(seed, gap=gap)
    shift = torch.tensor(np.random.default_rng(seed).integers(-64, 64, size=(5, 1)) / 4)
    for loss in (info_nce, flat_nce):
        slope = gradient(loss, scores, target)
        assert (slope.sum(1).abs() <= 1e-14 * slope.abs().sum(1)).all()
        same(loss(scores + shift, target), loss(scores, target), 1e-12)
        same(gradient(loss, scores + shift, target), slope, 1e-11)


@quick
@given(seed=seeds, gap=gaps)
def test_flat_nce_is_info_nce_with_weights(seed, gap):
    """dInfoNCE = ξ/(1 + ξ) dFlatNCE, row by row, and the same from the stop-gradient form."""
    scores, target = sample(seed, gap=gap)
    weight = torch.sigmoid(log_xi(scores, target))[:, None]
    flat = gradient(flat_nce, scores, target)
    same(gradient(info_nce, scores, target), weight * flat, 1e-12)
    same(gradient(flat_nce_stop_gradient, scores, target), flat, 1e-12)
    same(info_nce(scores, target, "none"), log_xi(scores, target).exp().log1p(), 1e-12)
    same(flat[torch.arange(5), target], [-0.2] * 5)


@quick
@given(seed=seeds, gap=gaps)
def test_order_of_rows_and_columns_does_not_matter(seed, gap):
    scores, target = sample(seed, gap=gap)
    rng = np.random.default_rng(seed)
    rows, columns = torch.tensor(rng.permutation(5)), torch.tensor(rng.permutation(6))
    moved, moved_target = scores[rows][:, columns], columns.argsort()[target[rows]]
    for loss in (info_nce, flat_nce):
        same(loss(moved, moved_target, "none"), loss(scores, target, "none")[rows], 1e-12)
        same(gradient(loss, moved, moved_target), gradient(loss, scores, target)[rows][:, columns], 1e-12)


@pytest.mark.parametrize("loss", EVERY)
def test_a_negative_at_minus_infinity_is_not_there(loss):
    for gap in (0.0, 60.0):  # by the usual way and by the one for extreme rows
        scores, target = sample(4, gap=gap)
        target = target.clamp(max=4)
        masked = torch.cat([scores, torch.full((5, 1), -torch.inf)], 1)
        same(loss(masked, target), loss(scores, target))
        same(gradient(loss, masked, target), F.pad(gradient(loss, scores, target), (0, 1)))


@pytest.mark.parametrize("loss", EVERY)
def test_reductions(loss):
    scores, target = sample(1)
    losses = loss(scores, target, "none")
    assert losses.shape == (5,)
    same(loss(scores, target, "sum"), losses.sum())
    same(loss(scores, target, "mean"), losses.sum() / 5)
    same(loss(scores, target), losses.sum() / 5)
    same(losses[2:3], loss(scores[2:3], target[2:3], "none"))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.int8, torch.uint8])
@pytest.mark.parametrize("loss", EVERY)
def test_integers_of_any_width_are_targets(loss, dtype):
    scores, target = sample(1)
    same(loss(scores, target.to(dtype)), loss(scores, target))


def test_inputs_are_left_alone():
    for gap in (0.0, 60.0):
        scores, target = sample(2, gap=gap)
        before = scores.clone()
        for loss in EVERY:
            gradient(loss, scores.requires_grad_(), target)
            loss(scores, target).backward()
        assert torch.equal(scores, before)


# --- autograd -------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [info_nce, flat_nce, log_mean_info_nce])
@pytest.mark.parametrize("gap", [-60.0, 0.0, 3.0])
def test_first_and_second_derivatives_against_differences(loss, gap):
    scores, target = sample(5, 3, 4, gap)
    scores.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: loss(s, target), scores)
    assert torch.autograd.gradgradcheck(lambda s: loss(s, target), scores)


@pytest.mark.parametrize("gap", [3.0, 90.0])
def test_hessian_of_log_xi(gap):
    """Closed form: diag(q) - qq', q the softmax over the negatives, at any gap."""
    scores, _ = sample(6, 1, 4)
    scores[0, 0] += gap
    hessian = torch.autograd.functional.hessian(lambda s: flat_nce(s[None], torch.tensor([0])), scores[0])
    q = F.pad(scores[0, 1:].softmax(0), (1, 0))
    same(hessian, q.diag() - q[:, None] * q, 1e-12, 1e-15)


def test_gradient_keeps_the_weights_from_above():
    scores, target = sample(8)
    weights = torch.tensor([1.0, 0.0, -2.0, 3.0, 0.5], dtype=torch.float64)
    for loss in (info_nce, flat_nce):
        slope = gradient(lambda s, t, loss=loss: (loss(s, t, "none") * weights).sum(), scores, target)
        same(slope, weights[:, None] * gradient(loss, scores, target, reduction="sum"))


@pytest.mark.parametrize("loss", [info_nce, flat_nce])
@pytest.mark.parametrize("gap", [0.0, 9.0, 60.0])
def test_gradient_to_be_differentiated_again_is_the_same(loss, gap):
    scores, target = sample(8, gap=gap)
    weights = torch.tensor([1.0, 0.5, -2.0, 3.0, 0.25], dtype=torch.float64)
    scores.requires_grad_()
    values = loss(scores, target, "none")
    once, again = (torch.autograd.grad(values, scores, weights, True, graph)[0] for graph in (False, True))
    assert again.requires_grad
    same(again.detach(), once, 1e-13)


def test_backward_twice_through_a_kept_graph_gives_the_same_again():
    scores, target = sample(9)
    scores.requires_grad_()
    for loss in (info_nce, flat_nce):
        value = loss(scores, target)
        first, second = (torch.autograd.grad(value, scores, retain_graph=True)[0] for _ in range(2))
        assert torch.equal(first, second)


# --- half precision and autocast ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", HALF)
def test_half_scores_are_computed_in_float32(dtype):
    scores, target = sample(3, gap=9.0)
    scores = scores.to(dtype)
    for loss in (info_nce, flat_nce):
        assert loss(scores, target).dtype == torch.float32
        assert torch.equal(loss(scores, target), loss(scores.float(), target))
        slope = gradient(loss, scores, target)
        assert slope.dtype == dtype
        assert torch.equal(slope, gradient(loss, scores.float(), target).to(dtype))
        assert loss(scores, target, upcast=False).dtype == dtype
        same(loss(scores, target, upcast=False).double(), loss(scores, target).double(), 8 * torch.finfo(dtype).eps)
    assert log_xi(scores, target).dtype == log_mean_info_nce(scores, target).dtype == torch.float32
    assert log_xi(scores, target, upcast=False).dtype == dtype
    for loss in (info_nce_naive, info_nce_log1p, info_nce_cross_entropy, flat_nce_stop_gradient):
        assert loss(scores, target).dtype == dtype
    assert info_nce(scores.double(), target).dtype == torch.float64


@pytest.mark.parametrize("dtype", HALF)
def test_autocast_changes_nothing(dtype):
    scores, target = sample(3, gap=9.0)
    z = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    for given_scores in (scores.float(), scores.to(dtype)):
        for loss in (info_nce, flat_nce, log_mean_info_nce):
            value, slope = loss(given_scores, target), gradient(loss, given_scores, target)
            with torch.autocast("cpu", dtype):
                assert torch.equal(loss(given_scores, target), value)
                assert torch.equal(gradient(loss, given_scores, target), slope)
    expected, _ = nt_xent_scores(z, 0.1)
    with torch.autocast("cpu", dtype):
        assert (z @ z.T).dtype == dtype  # what would happen without care
        assert torch.equal(nt_xent_scores(z, 0.1)[0], expected)


# --- the log of the batch mean --------------------------------------------------------------------


def test_log_mean_where_the_mean_does_not_underflow():
    for gap in (-5.0, 0.0, 9.0):
        scores, target = sample(11, gap=gap)
        same(log_mean_info_nce(scores, target), info_nce(scores, target).log(), 1e-13)
        slope = gradient(info_nce, scores, target) / info_nce(scores, target)
        same(gradient(log_mean_info_nce, scores, target), slope, 1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_log_mean_from_large_to_underflowing_losses(dtype):
    """Oracle: mpmath, for rows alone and together, on both sides of each place where the formula changes."""
    gaps = [-200.0, -41.0, -39.0, 0.0, 20.5, 39.0, 39.9, 40.1, 41.0, 100.0, 2000.0]
    scores = torch.tensor([[gap, 0.0] for gap in gaps], dtype=dtype)
    target = torch.zeros(len(gaps), dtype=torch.int64)
    rtol = 8 * torch.finfo(dtype).eps
    with mp.workdps(900):
        losses = [mp_loss("info_nce", one, 0) for one in scores.tolist()]
        for k in range(len(gaps)):
            due = float(mp.log(losses[k]))
            same(log_mean_info_nce(scores[k : k + 1], target[:1]), due, rtol)
            same(log_mean_info_nce(scores[k:], target[k:]), float(mp.log(mp.fsum(losses[k:]) / len(losses[k:]))), rtol)


def test_log_mean_weighs_the_anchors_as_info_nce_does():
    """Both losses underflow in float32; closed form: weights ξ_b/Σξ on FlatNCE's gradients of two columns."""
    scores, target = torch.tensor([[200.0, 0.0], [201.0, 0.0]]), torch.tensor([0, 0])
    first = 1 / (1 + math.exp(-1))
    same(gradient(log_mean_info_nce, scores, target), [[-first, first], [first - 1, 1 - first]], 1e-5)
    same(log_mean_info_nce(scores, target), -200 + math.log((1 + math.exp(-1)) / 2), 1e-6)


# --- NT-Xent --------------------------------------------------------------------------------------


def reference_views() -> torch.Tensor:
    first = [[math.sin(1 + 4 * i + j) for j in range(4)] for i in range(3)]
    second = [[first[i][j] + 0.2 * math.cos(3 * (i + 3) + j) for j in range(4)] for i in range(3)]
    return torch.tensor(first + second, dtype=torch.float64)


def test_nt_xent_reference_values():
    z = reference_views()
    scores, target = nt_xent_scores(z, 0.1)
    same(info_nce(scores, target), 6.03886076977137e-5)
    same(flat_nce(scores, target), -11.37734831047011)
    unit = F.normalize(z, dim=1)
    across = unit[:3] @ unit[3:].T / 0.1
    same(info_nce(across, torch.arange(3)), 2.82479929808015e-5)
    same(flat_nce(across, torch.arange(3)), -12.02576617874852)
    scores, target = nt_xent_scores(z.float(), 0.1)
    same(info_nce(scores, target), 6.03886076977137e-5, 2e-5)
    assert abs(info_nce_cross_entropy(scores, target).item() / 6.03886076977137e-5 - 1) > 1e-4


@pytest.mark.parametrize("samples", [2, 3, 5])
def test_nt_xent_scores_are_all_pairs_but_oneself(samples):
    """Oracle: two loops."""
    z = torch.randn(2 * samples, 3, generator=torch.Generator().manual_seed(samples), dtype=torch.float64)
    scores, target = nt_xent_scores(z, 0.3)
    assert scores.shape == (2 * samples, 2 * samples - 1)
    assert scores.is_contiguous()
    for i in range(2 * samples):
        others = [j for j in range(2 * samples) if j != i]
        due = [(z[i] @ z[j] / (z[i].norm() * z[j].norm() * 0.3)).item() for j in others]
        same(scores[i], due, 1e-12, 1e-14)
        assert others[target[i]] == (i + samples) % (2 * samples)


def test_nt_xent_gradient():
    """Against differences; and it turns the rows without stretching them."""
    z = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: nt_xent_scores(z, 0.5)[0], z)
    assert torch.autograd.gradgradcheck(lambda z: info_nce(*nt_xent_scores(z, 0.5)), z)
    flat_nce(*nt_xent_scores(z, 0.5)).backward()
    assert (z.grad.norm(dim=1) > 1e-3).all()
    assert ((z.grad * z).sum(1).abs() < 1e-14).all()


def test_nt_xent_takes_rows_of_any_length_and_half_precision():
    z = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    scores, _ = nt_xent_scores(z, 0.1)
    stretched, _ = nt_xent_scores(z * torch.tensor([1e-6, 1e6, 1, 2, 3, 4])[:, None], 0.1)
    same(stretched, scores, 1e-5, 1e-5)
    assert scores.dtype == torch.float32
    for dtype in HALF:
        half, _ = nt_xent_scores(z.to(dtype), 0.1)
        assert half.dtype == torch.float32
        assert torch.equal(half, nt_xent_scores(z.to(dtype).float(), 0.1)[0])
    same(nt_xent_scores(z, 1)[0], scores / 10, 1e-5, 1e-6)


# --- thresholds and Adam --------------------------------------------------------------------------

BITS = {torch.float64: 53, torch.float32: 24, torch.float16: 11, torch.bfloat16: 8}


def test_zero_gradient_gap_reference_values():
    for dtype, due in {
        torch.float64: 36.7368005696771014,
        torch.float32: 16.6355323334386874,
        torch.float16: 7.6246189861593984,
        torch.bfloat16: 5.54517744447956248,
    }.items():
        assert zero_gradient_gap(dtype, 2) == pytest.approx(due, rel=1e-15)
        xi = 16 * mp.exp(-mp.mpf(zero_gradient_gap(dtype, 17)))
        assert float(xi) == pytest.approx(2.0 ** -BITS[dtype], rel=1e-13)


@pytest.mark.parametrize("dtype", BITS)
def test_cross_entropy_pulls_up_to_the_gap_and_no_further(dtype):
    """Bisection over the numbers of the dtype between two gaps."""

    def pulls(gap: float) -> bool:
        return gradient(info_nce_cross_entropy, *with_gap(gap, dtype))[0, 0] != 0

    low, high = 1.0, 64.0
    assert pulls(low)
    assert not pulls(high)
    while (middle := torch.tensor((low + high) / 2, dtype=dtype).item()) not in (low, high):
        low, high = (middle, high) if pulls(middle) else (low, middle)
    assert high == pytest.approx(zero_gradient_gap(dtype, 2), rel=2 * torch.finfo(dtype).eps)


def test_cosines_reach_the_gap_only_at_low_temperature():
    """Two unit vectors differ by at most 2 in cosine: with one negative, float32 needs τ <= 2/(24 log 2)."""
    assert 2 / zero_gradient_gap(torch.float32, 2) == pytest.approx(0.1202, abs=5e-5)
    assert zero_gradient_gap(torch.float32, 2) * 0.05 == pytest.approx(0.8317766, abs=5e-8)


def test_adam_step_fraction_reference_values():
    for grad, due in ((1e-7, 1 / 1.1), (1e-8, 0.5), (1e-9, 1 / 11), (3e-9, 0.23076923076923078), (0.0, 0.0)):
        assert adam_step_fraction(grad) == pytest.approx(due, rel=1e-14)
        assert adam_step_fraction(-grad) == pytest.approx(-due, rel=1e-14)
    assert adam_step_fraction(1e-20, eps=1e-20) == 0.5
    assert isinstance(adam_step_fraction(1.0), float)
    grads = [[1e-8, -1e-9]]
    array, tensor = adam_step_fraction(np.array(grads)), adam_step_fraction(torch.tensor(grads, dtype=torch.float64))
    assert isinstance(array, np.ndarray)
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_allclose(array, [[0.5, -1 / 11]], rtol=1e-14)
    same(tensor, array)


@pytest.mark.parametrize("eps", [1e-8, 1e-4])
def test_adam_moves_by_that_fraction(eps):
    """Oracle: torch.optim.Adam, constant gradients, every one of ten steps."""
    grad = torch.tensor([1e-3, -1e-6, 1e-8, 3e-9, -1e-10], dtype=torch.float64)
    weights = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([weights], lr=0.1, eps=eps)
    for step in range(1, 11):
        weights.grad = grad.clone()
        adam.step()
        same(weights.detach(), -0.1 * step * adam_step_fraction(grad, eps), 1e-9)
