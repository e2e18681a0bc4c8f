"""Residual towers at initialisation and in training: what the signal and the gradient do on their way.

Articles: Su Jianlin, https://kexue.fm/archives/8620 (17 Aug 2021) and https://kexue.fm/archives/8747 (8 Nov 2021).
Measurements stand here; the theory is in `helpers.residual_theory` and the steps of optimisers in
`helpers.optimizer_steps` (both without torch), the tower in `helpers.residual_tower`, a small masked language model in
`helpers.masked_language`, all under this one name.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from helpers.inputs import Array
from helpers.masked_language import MaskedLanguageModel, PermutationChain, mask_tokens, train_mlm
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
from helpers.residual_tower import ResidualBlock, ResidualTower

__all__ = [  # the whole subject of the articles, under one name
    "PLACEMENTS",
    "AlphaSchedule",
    "MaskedLanguageModel",
    "PermutationChain",
    "ResidualBlock",
    "ResidualTower",
    "adam_displacement",
    "adam_first_step",
    "adam_step_ratio",
    "branch_variance",
    "equivalent_rates",
    "gradient_snr",
    "layer_norm_gains",
    "linear_warmup",
    "mask_tokens",
    "residual_moments",
    "residual_scales",
    "signal_propagation",
    "token_cosine",
    "trace_signal",
    "train_mlm",
]


def trace_signal(model: ResidualTower | Iterable[nn.Module], x: Tensor, cotangent: Tensor) -> dict[str, Array]:
    """Measured counterpart of `signal_propagation`: one pass up and one down, with all intermediate states.

    Parameters
    ----------
    model : a tower of L blocks, or L modules to apply in turn (such as nn.TransformerEncoderLayer).
    x : input [batch, tokens, d_model], tokens >= 2.
    cotangent : gradient with respect to x_L, of the shape of x (before the final Norm of "pre"). Subtract its mean over
        the tokens for the part that tells tokens apart.

    Returns
    -------
    dict of float64 arrays [L + 1], entry l for x_l: "second_moment", "identity_weight" (cosine between x_l and x_0),
    "token_correlation" (mean of `token_cosine`), "gradient_norm" |g_l|/|g_L|; and [number of ResidualBlocks]
    "branch_second_moment" of the outputs of their branches, before alpha.

    Raises
    ------
    TypeError : a part of model is not a module.
    ValueError : x not [batch, tokens >= 2, d_model], cotangent of another shape.

    >>> tower = ResidualTower(2, 8, "none", init_std=1e-9, generator=torch.Generator().manual_seed(0))
    >>> trace = trace_signal(tower, torch.eye(8)[None], torch.ones(1, 8, 8))
    >>> trace["second_moment"].round(6).tolist(), trace["gradient_norm"].round(6).tolist()
    ([0.125, 0.125, 0.125], [1.0, 1.0, 1.0])
    """
    blocks = list(model.blocks if isinstance(model, ResidualTower) else model)
    for block in blocks:
        if not isinstance(block, nn.Module):
            raise TypeError(f"model must be a ResidualTower or hold modules, got {type(block).__name__}")
    if x.ndim != 3 or x.shape[1] < 2:
        raise ValueError(f"x must have shape [batch, tokens >= 2, d_model], got {tuple(x.shape)}")
    if cotangent.shape != x.shape:
        raise ValueError(f"cotangent must have the shape of x, {tuple(x.shape)}, got {tuple(cotangent.shape)}")
    outputs: list[float] = []
    hooks = [
        block.branch.register_forward_hook(lambda _module, _args, out: outputs.append(_second_moment(out)))
        for block in blocks
        if isinstance(block, ResidualBlock)
    ]
    states = [x.detach().requires_grad_()]
    try:
        for block in blocks:
            states.append(block(states[-1]))
    finally:
        for hook in hooks:
            hook.remove()
    gradients = torch.autograd.grad(states[-1], states, cotangent)
    flat = torch.stack([state.detach().double().flatten() for state in states])
    size = flat.norm(dim=1)
    steepness = np.array([_second_moment(gradient) for gradient in gradients]) ** 0.5
    return {
        "second_moment": np.array([_second_moment(state) for state in states]),
        "identity_weight": (flat @ flat[0] / (size * size[0])).numpy(),
        "token_correlation": np.array([float(token_cosine(state).mean()) for state in states]),
        "gradient_norm": steepness / steepness[-1],
        "branch_second_moment": np.array(outputs),
    }


def token_cosine(h: Tensor) -> Tensor:
    """Mean cosine between different tokens of each sequence: h [batch, n, d] with n >= 2 gives float64 [batch].

    1 when all tokens point the same way (rank collapse), about 0 for independent ones, -1/(n - 1) at least.

    Raises
    ------
    ValueError : h not [batch, n >= 2, d].

    >>> token_cosine(torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[1.0, 1.0], [3.0, 3.0]]])).round(decimals=6).tolist()
    [0.0, 1.0]
    """
    if h.ndim != 3 or h.shape[1] < 2:
        raise ValueError(f"h must have shape [batch, n >= 2, d], got {tuple(h.shape)}")
    n = h.shape[1]
    unit = nn.functional.normalize(h.detach().double(), dim=-1)
    return (unit.sum(dim=1).square().sum(dim=-1) - n) / (n * (n - 1))


def layer_norm_gains(model: nn.Module) -> dict[str, float]:
    """Mean of the gain γ of every nn.LayerNorm and nn.RMSNorm in model, by its name, in the order of the modules.

    >>> layer_norm_gains(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)))
    {'1': 1.0}
    """
    norms = ((name, part) for name, part in model.named_modules() if isinstance(part, nn.LayerNorm | nn.RMSNorm))
    return {name: float(norm.weight.detach().mean()) for name, norm in norms if norm.weight is not None}


def gradient_snr(model: MaskedLanguageModel, batches: Iterable[tuple[Array, Array, Array]]) -> Array:
    """Signal-to-noise ratio of the gradient of each branch of the model's tower, over B >= 2 batches: [depth].

    With the mean μ of the B gradients of all weights of a branch and the sum s² of the variances of their entries
    (B - 1 degrees of freedom) it is √(max(0, |μ|² - s²/B)/s²), which pure noise does not raise above 0 on average.

    Parameters
    ----------
    batches : triples (inputs, mask, targets) as `mask_tokens` returns them.

    Raises
    ------
    ValueError : fewer than two batches.

    >>> model = MaskedLanguageModel(5, 4, 1, 8, 2, 16, "post", 0.1, generator=torch.Generator().manual_seed(0))
    >>> rng = np.random.default_rng(0)
    >>> gradient_snr(model, [mask_tokens(rng.integers(0, 5, (3, 4)), 0.5, 5, rng) for _ in range(4)]).shape
    (2,)
    """
    blocks = list(model.tower.blocks)
    parameters = [[weight for weight in block.parameters() if weight.requires_grad] for block in blocks]
    rows: list[list[Tensor]] = []
    for inputs, mask, targets in batches:
        loss = model.loss(inputs, mask, targets)
        grads = iter(torch.autograd.grad(loss, [weight for own in parameters for weight in own]))
        rows.append([torch.cat([next(grads).flatten() for _ in own]).double() for own in parameters])
    if len(rows) < 2:
        raise ValueError(f"batches must hold at least two batches, got {len(rows)}")
    ratios = []
    for own in zip(*rows, strict=True):
        stacked = torch.stack(own)
        noise = stacked.var(dim=0).sum()
        signal = (stacked.mean(dim=0).square().sum() - noise / len(rows)).clamp(min=0)
        ratios.append(float((signal / noise).sqrt()))
    return np.array(ratios)


def _second_moment(x: Tensor) -> float:
    return float(x.detach().double().square().mean())
