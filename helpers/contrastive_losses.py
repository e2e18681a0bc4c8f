"""Contrastive losses: InfoNCE and FlatNCE = log ξ, exact where floating point is hardest on them.

Article: Su Jianlin, https://kexue.fm/archives/8586 (26 Jul 2021). Papers: FlatNCE (Chen et al. 2021),
https://arxiv.org/abs/2107.01152; InfoNCE (van den Oord et al. 2018), https://arxiv.org/abs/1807.03748; NT-Xent
(Chen et al. 2020), https://arxiv.org/abs/2002.05709; the same log ξ under the name decoupled contrastive learning
(Yeh et al. 2021), https://arxiv.org/abs/2110.06848.

Symbols: scores s [B, K] of B anchors with K candidates each, target t [B] the column of each positive; the other
K - 1 columns are negatives. ξ_b = Σ_{i≠t} exp(s_i - s_t) and v_b = log ξ_b. A score of -inf takes a negative out.
Every loss here raises ValueError for scores that are not a floating [B, K] with B ≥ 1 and K ≥ 2 or hold NaN or +inf, a
positive at -inf, a row whose negatives are all at -inf (ξ = 0), targets that are not B integers in 0..K-1, and an
unknown reduction ("mean" over the batch, "sum", or "none" for [B]); TypeError for what is not a tensor.
"""

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from helpers.inputs import checked_choice, checked_integer, checked_number

_HALF = (torch.float16, torch.bfloat16)
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
Numbers = TypeVar("Numbers", float, np.ndarray, Tensor)


class _Contrast(torch.autograd.Function):
    """log ξ [B] (flat) or softplus(log ξ) [B], with the gradient in the form that floating point keeps.

    dL/ds_i = p_i and dL/ds_t = -Σ_{i≠t} p_i, never p_t - 1; p: softmax of all scores, if flat of the negatives alone.
    """

    @staticmethod
    def forward(ctx, scores: Tensor, target: Tensor, flat: bool) -> Tensor:
        column = target.unsqueeze(1)
        p = scores.softmax(1)
        own = p.gather(1, column)
        rest = p.scatter_(1, column, 0).sum(1, keepdim=True)
        p.scatter_(1, column, -rest)
        v = (rest.log() - own.log()).squeeze(1)
        scale = rest if flat else rest + own  # softmax's own sum, over many candidates, is worse than this one
        low, high = v.aminmax()
        if not max(-low.item(), high.item()) < -math.log(torch.finfo(p.dtype).tiny) / 2:  # p near underflow, or NaN
            v, p, scale = _log_xi_at_any_gap(scores, column), _direction(scores, column, flat), torch.ones_like(rest)
        ctx.save_for_backward(scores, column, p, scale)
        ctx.flat = flat
        return v if flat else _softplus(v)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        scores, column, p, scale = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again: as a function of the scores
            return _direction(scores, column, ctx.flat) * grad.unsqueeze(1), None, None
        return p * (grad.unsqueeze(1) / scale), None, None


def _direction(scores: Tensor, column: Tensor, flat: bool) -> Tensor:
    p = (scores.scatter(1, column, -torch.inf) if flat else scores).softmax(1).scatter(1, column, 0)
    return p.scatter(1, column, -p.sum(1, keepdim=True))


def _log_xi_at_any_gap(scores: Tensor, column: Tensor) -> Tensor:
    negatives = scores.scatter(1, column, -torch.inf)
    top = negatives.amax(1, keepdim=True)
    v = (top - scores.gather(1, column) + (negatives - top).exp().sum(1, keepdim=True).log()).squeeze(1)
    if not v.isfinite().all():
        raise ValueError(_why_not_finite(scores, column))
    return v


def log_xi(scores: Tensor, target: Tensor, upcast: bool = True) -> Tensor:
    """v = log Σ_{i≠t} exp(s_i - s_t) [B], finite at any gap between finite scores.

    Parameters
    ----------
    scores : [B, K], floating. target : [B], integers.
    upcast : compute and return float32 for float16 and bfloat16 scores, also under autocast. The gradient reaches the
        scores in their own dtype: float16 rounds what is below 3e-8 to 0 (scale the loss), bfloat16 does not.

    Raises
    ------
    ValueError, TypeError : see the module.

    >>> log_xi(torch.tensor([[20.0, 0.0]]), torch.tensor([0])).tolist()
    [-20.0]
    """
    return _Contrast.apply(*_checked(scores, target, upcast), True)


def info_nce(scores: Tensor, target: Tensor, reduction: str = "mean", upcast: bool = True) -> Tensor:
    """InfoNCE log(1 + ξ) = softplus(log ξ), the cross entropy, with value and gradients exact to rounding.

    dL/ds_t = -ξ/(1 + ξ) and dL/ds_i = exp(s_i - s_t)/(1 + ξ), each with a small relative error however small ξ is;
    torch's cross_entropy forms p_t - 1 and loses the first below ξ ~ 2⁻²⁴ in float32. `upcast` as in `log_xi`.

    >>> scores = torch.tensor([[20.0, 0.0]], requires_grad=True)
    >>> info_nce(scores, torch.tensor([0])).backward(); print(f"{scores.grad[0, 0]:.4g}")
    -2.061e-09
    """
    return _reduce(_Contrast.apply(*_checked(scores, target, upcast), False), reduction)


def flat_nce(scores: Tensor, target: Tensor, reduction: str = "mean", upcast: bool = True) -> Tensor:
    """FlatNCE log ξ (article, last equation): dL/ds_t = -1, dL/ds_i = softmax over the negatives alone.

    Unbounded below: only bounded scores (cosines) stop it. With one negative it is s_1 - s_t, linear, without any
    gating. Its gradient is that of InfoNCE times (1 + ξ)/ξ for each anchor. `upcast` as in `log_xi`.

    >>> round(flat_nce(torch.tensor([[5.0, 1.0, 0.0, -1.0]]), torch.tensor([0])).item(), 5)
    -3.59239
    """
    return _reduce(log_xi(scores, target, upcast), reduction)


def flat_nce_stop_gradient(scores: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """ξ/stop_gradient(ξ): always 1 for an anchor, with the gradient of log ξ (article).

    Written exp(v - stop_gradient(v)), v = log ξ. The ratio as it stands divides by ξ, which overflows float16 from a
    gap of 12 on and is 0/0 once ξ underflows. The value tells nothing: report InfoNCE beside it. In the dtype given.

    >>> flat_nce_stop_gradient(torch.tensor([[300.0, 0.0]]), torch.tensor([0])).item()
    1.0
    """
    v = log_xi(scores, target, upcast=False)
    return _reduce((v - v.detach()).exp(), reduction)


def log_mean_info_nce(scores: Tensor, target: Tensor) -> Tensor:
    """log of the batch mean of InfoNCE (scalar), where the mean itself may underflow.

    Its gradient is that of the mean over the mean: FlatNCE's scale-free step for a batch, with InfoNCE's weights of the
    anchors in it.

    >>> log_mean_info_nce(torch.tensor([[200.0, 0.0], [200.0, 0.0]]), torch.tensor([0, 0])).item()
    -200.0
    """
    v = log_xi(scores, target)
    far = v < -40  # there log softplus(v) = v to every bit of float64, and below -103 softplus underflows
    logs = torch.where(far, v, _softplus(v.masked_fill(far, 0)).log())
    return logs.logsumexp(0) - math.log(len(v))


def info_nce_cross_entropy(scores: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """InfoNCE as torch's cross_entropy in the dtype given, for comparison: dL/ds_t = p_t - 1 is rounded to 2⁻ᵖ.

    >>> info_nce_cross_entropy(torch.tensor([[20.0, 0.0]]), torch.tensor([0])).item()
    0.0
    """
    _differences(scores, target)
    return _reduce(F.cross_entropy(scores, target.long(), reduction="none"), reduction)


def info_nce_naive(scores: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """log(1 + ξ) as it stands, in the dtype given, for comparison: 0 below ξ ~ 2⁻ᵖ, yet with an exact gradient.

    The chain rule multiplies 1/(1 + ξ) by the gradient of ξ: neither uses the rounded logarithm. ξ overflows for a
    target far below its negatives (from 88 on in float32).

    >>> info_nce_naive(torch.tensor([[20.0, 0.0]]), torch.tensor([0])).item()
    0.0
    """
    return _reduce((1 + _differences(scores, target).exp().sum(1)).log(), reduction)


def info_nce_log1p(scores: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """log1p(ξ) in the dtype given, for comparison: exact where ξ neither underflows nor overflows.

    >>> print(f"{info_nce_log1p(torch.tensor([[20.0, 0.0]]), torch.tensor([0])).item():.5g}")
    2.0612e-09
    """
    return _reduce(_differences(scores, target).exp().sum(1).log1p(), reduction)


def nt_xent_scores(z: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Cosine scores and targets of NT-Xent: each of 2N views against the other 2N - 1 (SimCLR, equation 1).

    Rows i and i + N of z are the two views of sample i; they are normalised here. Half-precision z, and any z under
    autocast, is computed in float32: an error of δ in a score is a factor exp(δ) in ξ.

    Parameters
    ----------
    z : [2N, d], floating, N ≥ 2. temperature : τ > 0.

    Returns
    -------
    scores [2N, 2N-1] : cos(z_i, z_j)/τ for all j ≠ i, in order.
    target [2N] : the column of the other view.

    Raises
    ------
    ValueError : z not 2-D or not floating, an odd number of rows, fewer than 4 (no negatives), a row that cannot be
        normalised (zero, NaN, infinite), temperature not a finite number > 0. TypeError : z not a tensor.

    >>> scores, target = nt_xent_scores(torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 3.0]]), 0.5)
    >>> scores.tolist()[0], target.tolist()
    ([0.0, 2.0, 0.0], [1, 2, 0, 1])
    """
    _check_matrix("z", z)
    checked_number("temperature", temperature, "a finite number > 0", lambda value: 0 < value < math.inf)
    n = len(z)
    if n % 2:
        raise ValueError(f"z must have an even number of rows, views i and i + N of N samples, got {n}")
    if n < 4:
        raise ValueError(f"z must have at least 4 rows (N >= 2): a batch of one pair has no negatives, got {n}")
    with torch.autocast(z.device.type, enabled=False):
        z = unit_rows(z)
        cosines = (z / temperature) @ z.T
    # The diagonal is every (n + 1)-th element in memory: take the n between one and the next, then cut into rows.
    scores = cosines.as_strided((n - 1, n), (n + 1, 1), 1).reshape(n, n - 1)
    rows = torch.arange(n, device=z.device)
    return scores, rows.roll(n // 2) - (rows < n // 2).long()  # one less where the diagonal was dropped before it


def unit_rows(z: Tensor) -> Tensor:
    """The rows of z [n, d] over their lengths, half precision in float32; call it with autocast off.

    Raises
    ------
    ValueError : a row that is zero or holds NaN or infinity.

    >>> unit_rows(torch.tensor([[0.0, 2.0], [-1.0, 0.0]])).tolist()
    [[0.0, 1.0], [-1.0, 0.0]]
    """
    z = z.float() if z.dtype in _HALF else z
    length = torch.linalg.vector_norm(z, dim=1, keepdim=True)
    shortest, longest = length.aminmax()
    if not (shortest.item() > 0 and longest.item() < math.inf):
        bad = ~((length > 0) & (length < math.inf)).squeeze(1)
        raise ValueError(f"z must have rows of finite length > 0, got others in row(s) {_rows(bad)}")
    return z / length


def contrastive_gradient_oracle(
    scores: Tensor | Sequence, target: Tensor | Sequence, loss: str, dps: int = 50
) -> list[list[float]]:
    """Exact gradient of the SUM over the rows, from the closed form with mpmath at `dps` digits, rounded to float64.

    InfoNCE: p_i and -ξ/(1 + ξ); FlatNCE: softmax over the negatives and -1. Slow: for references, not for training.

    Parameters
    ----------
    scores : [B, K]. target : [B]. loss : "info_nce" or "flat_nce". dps : at least 15.

    >>> contrastive_gradient_oracle([[20.0, 0.0]], [0], "info_nce")
    [[-2.0611536181902037e-09, 2.0611536181902037e-09]]
    """
    from mpmath import mp

    checked_choice("loss", loss, "info_nce", "flat_nce")
    scores, target = torch.as_tensor(scores, dtype=torch.float64), torch.as_tensor(target)
    log_xi(scores, target)  # for its checks
    with mp.workdps(checked_integer("dps", dps, 15)):
        gradient = []
        for row, t in zip(scores.tolist(), target.tolist(), strict=True):
            terms = [mp.exp(mp.mpf(s) - mp.mpf(row[t])) for s in row]
            terms[t] = mp.mpf(0)
            xi = mp.fsum(terms)
            terms[t] = -xi
            gradient.append([float(term / (xi + (loss == "info_nce"))) for term in terms])
    return gradient


def zero_gradient_gap(dtype: torch.dtype, num_candidates: int) -> float:
    """Gap s_t - s_i at which cross entropy's dL/ds_t becomes exactly 0: p log 2 + log(K - 1), p bits of the dtype.

    All K - 1 negatives are taken at the same score, so that ξ = 2⁻ᵖ there and 1 + ξ rounds to 1. Exact for K = 2. For
    more it is the leading term: a sum that takes up the terms one by one loses them from p log 2 on, whatever K is, and
    partial sums shift it by log 2 or so. p: float64 53, float32 24, float16 11, bfloat16 8.

    >>> round(zero_gradient_gap(torch.float32, 2), 4)
    16.6355
    """
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"dtype must be a floating torch.dtype, got {dtype!r}")
    bits = 1 - math.log2(torch.finfo(dtype).eps)
    return bits * math.log(2) + math.log(checked_integer("num_candidates", num_candidates, 2) - 1)


def adam_step_fraction(grad: Numbers, eps: float = 1e-8) -> Numbers:
    """Adam's step over the learning rate for a gradient that stays the same: g/(|g| + eps), elementwise.

    With bias correction and a constant gradient both moments are exact from the first step on. Gradients far above eps
    move by the full learning rate whatever their size, those far below it by g/eps. `grad`: float, array or tensor.

    >>> round(adam_step_fraction(3e-9), 10)
    0.2307692308
    """
    checked_number("eps", eps, "a finite number > 0", lambda value: 0 < value < math.inf)
    bad = (~torch.as_tensor(grad).isfinite()).sum().item()
    if bad:
        raise ValueError(f"grad must be finite, got {bad} NaN or infinite value(s)")
    return grad / (abs(grad) + eps)


def _softplus(v: Tensor) -> Tensor:
    return F.softplus(v, threshold=40.0)  # torch's own 20, from where on it returns v, costs float64 digits


def _check_matrix(name: str, value: Tensor) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
    if value.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions, got shape {tuple(value.shape)}")
    if not value.is_floating_point():
        raise ValueError(f"{name} must be floating, got dtype {value.dtype}")


def _checked(scores: Tensor, target: Tensor, upcast: bool) -> tuple[Tensor, Tensor]:
    """All that can be seen without looking at the scores; those are looked at through log ξ, at no extra pass."""
    _check_matrix("scores", scores)
    B, K = scores.shape
    if B == 0:
        raise ValueError(f"scores must have at least one row, got shape {(B, K)}")
    if K < 2:
        raise ValueError(f"scores must have at least 2 columns: with {K} there are no negatives (a batch of one?)")
    if not isinstance(target, Tensor):
        raise TypeError(f"target must be a torch.Tensor, got {type(target).__name__}")
    if target.dtype not in _INTEGERS:
        raise ValueError(f"target must be integer, got dtype {target.dtype}")
    if target.shape != (B,):
        raise ValueError(f"target must have shape ({B},), one column per row of scores, got {tuple(target.shape)}")
    low, high = (bound.item() for bound in target.aminmax())
    if low < 0 or high >= K:
        raise ValueError(f"target must be in 0..{K - 1}, the columns of scores, got {low if low < 0 else high}")
    return scores.float() if upcast and scores.dtype in _HALF else scores, target.long()


def _why_not_finite(scores: Tensor, column: Tensor) -> str:
    for name, bad in (("NaN", scores.isnan()), ("+inf", scores == torch.inf)):
        if bad.any():
            return f"scores must not be {name}, got {bad.sum().item()} in row(s) {_rows(bad.any(1))}"
    positives = scores.gather(1, column).squeeze(1)
    if (positives == -torch.inf).any():
        return f"scores must be finite at the target, got -inf in row(s) {_rows(positives == -torch.inf)}"
    best = scores.scatter(1, column, -torch.inf).amax(1)
    if (best == -torch.inf).any():
        return f"scores must have a finite negative in each row: no negatives in row(s) {_rows(best == -torch.inf)}"
    overflow = _rows((best - positives).isinf())
    return f"scores must have differences that {scores.dtype} can hold, got infinite ones in row(s) {overflow}"


def _rows(bad: Tensor) -> str:
    rows = bad.nonzero().flatten().tolist()
    return ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")


def _differences(scores: Tensor, target: Tensor) -> Tensor:
    """s_i - s_t [B, K] of checked scores, -inf at the target."""
    with torch.no_grad():
        log_xi(scores, target, upcast=False)  # for its checks
    column = target.long()[:, None]
    return (scores - scores.gather(1, column)).scatter(1, column, -torch.inf)


def _reduce(losses: Tensor, reduction: str) -> Tensor:
    checked_choice("reduction", reduction, "mean", "sum", "none")
    return losses if reduction == "none" else losses.mean() if reduction == "mean" else losses.sum()
