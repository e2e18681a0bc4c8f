"""Bad input to the contrastive losses: each error names the argument, the rule and the value."""

import re

import numpy as np
import pytest
import torch

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

INF, NAN = float("inf"), float("nan")
REDUCED = [info_nce, flat_nce, info_nce_cross_entropy, info_nce_naive, info_nce_log1p, flat_nce_stop_gradient]
LOSSES = [*REDUCED, log_xi, log_mean_info_nce]
S = torch.tensor([[3.0, 1.0, 0.0], [1.0, 2.0, 0.0]])
T = torch.tensor([0, 1])


def put(*places: tuple[int, int, float]) -> torch.Tensor:
    scores = S.clone()
    for i, j, value in places:
        scores[i, j] = value
    return scores


BAD_SCORES = {
    "NaN": (put((0, 1, NAN), (1, 0, NAN), (1, 2, NAN)), "scores must not be NaN, got 3 in row(s) 0, 1"),
    "NaN at the target": (put((1, 1, NAN)), "scores must not be NaN, got 1 in row(s) 1"),
    "+inf": (put((0, 2, INF)), "scores must not be +inf, got 1 in row(s) 0"),
    "+inf at the target": (put((1, 1, INF)), "scores must not be +inf, got 1 in row(s) 1"),
    "NaN and +inf": (put((1, 1, INF), (0, 0, NAN)), "scores must not be NaN, got 1 in row(s) 0"),
    "-inf at the target": (put((1, 1, -INF)), "scores must be finite at the target, got -inf in row(s) 1"),
    "all -inf": (
        put((1, 0, -INF), (1, 1, -INF), (1, 2, -INF)),
        "scores must be finite at the target, got -inf in row(s) 1",
    ),
    "negatives at -inf": (
        put((1, 0, -INF), (1, 2, -INF)),
        "scores must have a finite negative in each row: no negatives in row(s) 1",
    ),
    "negatives too far below": (
        put((0, 0, 3e38), (0, 1, -3e38), (0, 2, -3e38)),
        "scores must have differences that torch.float32 can hold, got infinite ones in row(s) 0",
    ),
    "negatives too far above": (
        put((1, 1, -3e38), (1, 0, 3e38)),
        "scores must have differences that torch.float32 can hold, got infinite ones in row(s) 1",
    ),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("case", BAD_SCORES)
def test_bad_scores(loss, case):
    scores, message = BAD_SCORES[case]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        loss(scores, T)


def test_range_of_the_differences_is_that_of_the_dtype_computed_in():
    scores, target = torch.tensor([[6e4, -6e4]], dtype=torch.float16), torch.tensor([0])
    assert log_xi(scores, target) == -120000
    message = "scores must have differences that torch.float16 can hold, got infinite ones in row(s) 0"
    for loss in (info_nce_cross_entropy, info_nce_naive, info_nce_log1p, flat_nce_stop_gradient):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            loss(scores, target)


def test_five_rows_are_named_at_most():
    for count, said in ((5, "0, 1, 2, 3, 4"), (6, "0, 1, 2, 3, 4, ...")):
        with pytest.raises(ValueError, match=re.escape(f"got {count} in row(s) {said}") + "$"):
            info_nce(torch.tensor([[NAN, 0.0]] * count), torch.zeros(count, dtype=torch.int64))


BAD_SHAPES = {
    "1-D": (S[0], T, "scores must have 2 dimensions, got shape (3,)"),
    "3-D": (S[None], T, "scores must have 2 dimensions, got shape (1, 2, 3)"),
    "integers": (S.long(), T, "scores must be floating, got dtype torch.int64"),
    "complex": (S.cfloat(), T, "scores must be floating, got dtype torch.complex64"),
    "no rows": (S[:0], T[:0], "scores must have at least one row, got shape (0, 3)"),
    "one column": (S[:, :1], T, "scores must have at least 2 columns: with 1 there are no negatives (a batch of one?)"),
    "no columns": (S[:, :0], T, "scores must have at least 2 columns: with 0 there are no negatives (a batch of one?)"),
    "floating target": (S, T.float(), "target must be integer, got dtype torch.float32"),
    "boolean target": (S, T.bool(), "target must be integer, got dtype torch.bool"),
    "short target": (S, T[:1], "target must have shape (2,), one column per row of scores, got (1,)"),
    "scalar target": (S, T[0], "target must have shape (2,), one column per row of scores, got ()"),
    "target as a column": (S, T[:, None], "target must have shape (2,), one column per row of scores, got (2, 1)"),
    "target too large": (S, T + 2, "target must be in 0..2, the columns of scores, got 3"),
    "target too large beside 0": (S, 4 * T, "target must be in 0..2, the columns of scores, got 4"),
    "target too small": (S, T - 1, "target must be in 0..2, the columns of scores, got -1"),
    "target too small and too large": (S, 7 * T - 2, "target must be in 0..2, the columns of scores, got -2"),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("case", BAD_SHAPES)
def test_bad_shapes(loss, case):
    scores, target, message = BAD_SHAPES[case]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        loss(scores, target)


@pytest.mark.parametrize("loss", LOSSES)
def test_only_tensors(loss):
    with pytest.raises(TypeError, match=r"^scores must be a torch\.Tensor, got list$"):
        loss(S.tolist(), T)
    with pytest.raises(TypeError, match=r"^target must be a torch\.Tensor, got list$"):
        loss(S, [0, 1])


@pytest.mark.parametrize("loss", REDUCED)
def test_unknown_reduction(loss):
    message = "reduction must be one of ('mean', 'sum', 'none'), got 'median'"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        loss(S, T, "median")


Z = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]])
BAD = {
    "z is 1-D": (lambda: nt_xent_scores(Z[0], 0.1), "z must have 2 dimensions, got shape (2,)"),
    "z is integer": (lambda: nt_xent_scores(Z.long(), 0.1), "z must be floating, got dtype torch.int64"),
    "z has odd rows": (
        lambda: nt_xent_scores(torch.ones(5, 2), 0.1),
        "z must have an even number of rows, views i and i + N of N samples, got 5",
    ),
    "z has one pair": (
        lambda: nt_xent_scores(Z[:2], 0.1),
        "z must have at least 4 rows (N >= 2): a batch of one pair has no negatives, got 2",
    ),
    "z is empty": (
        lambda: nt_xent_scores(Z[:0], 0.1),
        "z must have at least 4 rows (N >= 2): a batch of one pair has no negatives, got 0",
    ),
    "z has a zero row": (
        lambda: nt_xent_scores(Z * torch.tensor([[1.0], [0.0], [1.0], [0.0]]), 0.1),
        "z must have rows of finite length > 0, got others in row(s) 1, 3",
    ),
    "z has NaN": (
        lambda: nt_xent_scores(torch.where(Z == -1, NAN, Z), 0.1),
        "z must have rows of finite length > 0, got others in row(s) 3",
    ),
    "z has infinity": (
        lambda: nt_xent_scores(torch.where(Z == -1, -INF, Z), 0.1),
        "z must have rows of finite length > 0, got others in row(s) 3",
    ),
    "temperature zero": (lambda: nt_xent_scores(Z, 0.0), "temperature must be a finite number > 0, got 0.0"),
    "temperature negative": (lambda: nt_xent_scores(Z, -0.1), "temperature must be a finite number > 0, got -0.1"),
    "temperature infinite": (lambda: nt_xent_scores(Z, INF), "temperature must be a finite number > 0, got inf"),
    "temperature NaN": (lambda: nt_xent_scores(Z, NAN), "temperature must be a finite number > 0, got nan"),
    "temperature text": (lambda: nt_xent_scores(Z, "0.1"), "temperature must be a finite number > 0, got '0.1'"),
    "oracle: loss": (
        lambda: contrastive_gradient_oracle(S, T, "cross_entropy"),
        "loss must be one of ('info_nce', 'flat_nce'), got 'cross_entropy'",
    ),
    "oracle: dps": (lambda: contrastive_gradient_oracle(S, T, "info_nce", 14), "dps must be an integer >= 15, got 14"),
    "oracle: NaN": (
        lambda: contrastive_gradient_oracle([[NAN, 0.0]], [0], "info_nce"),
        "scores must not be NaN, got 1 in row(s) 0",
    ),
    "oracle: target": (
        lambda: contrastive_gradient_oracle(S, [0], "info_nce"),
        "target must have shape (2,), one column per row of scores, got (1,)",
    ),
    "gap: integer dtype": (
        lambda: zero_gradient_gap(torch.int32, 2),
        "dtype must be a floating torch.dtype, got torch.int32",
    ),
    "gap: NumPy dtype": (
        lambda: zero_gradient_gap(np.float32, 2),
        "dtype must be a floating torch.dtype, got <class 'numpy.float32'>",
    ),
    "gap: one candidate": (
        lambda: zero_gradient_gap(torch.float32, 1),
        "num_candidates must be an integer >= 2, got 1",
    ),
    "gap: half a candidate": (
        lambda: zero_gradient_gap(torch.float32, 2.5),
        "num_candidates must be an integer >= 2, got 2.5",
    ),
    "Adam: eps zero": (lambda: adam_step_fraction(1.0, 0.0), "eps must be a finite number > 0, got 0.0"),
    "Adam: eps negative": (lambda: adam_step_fraction(1.0, -1e-8), "eps must be a finite number > 0, got -1e-08"),
    "Adam: eps infinite": (lambda: adam_step_fraction(1.0, INF), "eps must be a finite number > 0, got inf"),
    "Adam: NaN": (lambda: adam_step_fraction(NAN), "grad must be finite, got 1 NaN or infinite value(s)"),
    "Adam: infinity": (
        lambda: adam_step_fraction(torch.tensor([1.0, INF, -INF])),
        "grad must be finite, got 2 NaN or infinite value(s)",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


def test_z_must_be_a_tensor():
    with pytest.raises(TypeError, match=r"^z must be a torch\.Tensor, got ndarray$"):
        nt_xent_scores(np.ones((4, 2)), 0.1)
