"""A tower of residual branches in torch, with every placement of the norm and fresh weights in every branch.

Articles: Su Jianlin, https://kexue.fm/archives/8620 and https://kexue.fm/archives/8747; papers and the meaning of
`placement`: `helpers.residual_theory`. torch.nn.TransformerEncoder copies one layer instead of drawing each: all its
branches are equal at first, and their sum grows like the depth, not like its root. That is why this module exists.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.initialization import truncated_normal_variance
from helpers.inputs import checked_choice, checked_integer, checked_number
from helpers.residual_theory import PLACEMENTS, residual_scales

BRANCHES = ("linear", "feed_forward", "attention", "transformer")
ATTENTION = {"scaled": (0, 0), "unscaled": (0, 0), "t5": (-1 / 2, 0), "split": (-1 / 4, -1 / 4)}
"""Powers of d_head that multiply the standard deviations of queries and keys."""
_ACTIVATIONS = {"gelu": F.gelu, "relu": F.relu}


def fill_(weight: Tensor, std: float, truncated: bool = True, generator: torch.Generator | None = None) -> Tensor:
    """Fill in place with numbers of standard deviation exactly `std`, from a normal law cut off at two nominal ones.

    truncated=False takes the whole normal law; std 0 gives zeros. Returns the tensor.

    >>> round(float(fill_(torch.empty(100_000), 1.0, generator=torch.Generator().manual_seed(0)).std()), 1)
    1.0
    """
    if not truncated or std == 0:
        return nn.init.normal_(weight, std=std, generator=generator)
    nominal = std / math.sqrt(truncated_normal_variance())
    return nn.init.trunc_normal_(weight, std=nominal, a=-2 * nominal, b=2 * nominal, generator=generator)


def dense(fan_in: int, fan_out: int, bias: bool = True) -> nn.Linear:
    """A layer with bias 0 whose weight is still to be filled; unlike nn.Linear it draws no random numbers."""
    layer = nn.utils.skip_init(nn.Linear, fan_in, fan_out, bias=bias)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class FeedForward(nn.Module):
    """second(f(first(x))) on [..., d_model], with d_ff hidden features."""

    def __init__(self, d_model: int, d_ff: int, activation: str) -> None:
        super().__init__()
        self.first, self.second = dense(d_model, d_ff), dense(d_ff, d_model)
        self.activation = _ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.activation(self.first(x)))


class Attention(nn.Module):
    """Self-attention over the last but one dimension of [..., tokens, d_model], all tokens seeing all."""

    def __init__(self, d_model: int, n_heads: int, scaled: bool) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = (dense(d_model, d_model) for _ in range(4))
        self.n_heads, self.d_head = n_heads, d_model // n_heads
        self.scale = self.d_head**-0.5 if scaled else 1.0

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.n_heads, -1)).transpose(-3, -2) for layer in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        return self.output(mixed.transpose(-3, -2).flatten(-2))


class ResidualBlock(nn.Module):
    """A branch and its skip connection. `alpha` multiplies the branch: a number, or a parameter ("rezero")."""

    def __init__(self, branch: nn.Module, norm: nn.Module | None, placement: str, skip: float) -> None:
        super().__init__()
        self.branch, self.norm, self.placement, self.skip = branch, norm, placement, skip
        self.alpha: float | nn.Parameter = nn.Parameter(torch.zeros(())) if placement == "rezero" else 1.0

    def forward(self, x: Tensor) -> Tensor:
        y = self.skip * x + self.alpha * self.branch(self.norm(x) if self.placement == "pre" else x)
        return self.norm(y) if self.placement in ("post", "deepnorm") else y


class ResidualTower(nn.Module):
    """A chain of `depth` residual branches on x [batch, tokens, d_model]; "pre" ends in one more Norm.

    Parameters
    ----------
    depth : number of branches, two per Transformer layer.
    d_model : features of the stream.
    placement : "post", "pre", "none", "rezero", "fixup" or "deepnorm", see `helpers.residual_theory`.
    branch : "linear" (one square matrix), "feed_forward", "attention", or "transformer": attention and feed-forward in
        turn.
    init_std : standard deviation that the weights really have, whatever their law; None: 1/√d_model. With "deepnorm"
        it is that before the factors of `residual_scales`. Biases start at 0, norms at 1.
    n_heads, d_ff, activation : of attention and feed-forward; d_ff None: 4 d_model; "gelu" or "relu".
    attention : "scaled" logits, by 1/√d_head; "unscaled"; "t5": unscaled, but queries of std init_std/√d_head; "split":
        unscaled, but queries and keys of std init_std/d_head^(1/4).
    norm : "layer" or "rms".
    truncated : weights from a normal law cut off at two nominal standard deviations, as in BERT, or from a whole one.
    generator : source of the randomness; None takes torch's global one.
    dtype : of all parameters, float32 or float64.

    Raises
    ------
    ValueError : sizes that are no integers (depth >= 0, others >= 1), init_std <= 0, d_model not divisible by n_heads,
        unknown placement, branch, activation, attention or norm.

    >>> tower = ResidualTower(4, 8, "pre", generator=torch.Generator().manual_seed(0))
    >>> tower(torch.ones(2, 5, 8)).shape, len(tower.stream(torch.ones(2, 5, 8)))
    (torch.Size([2, 5, 8]), 5)
    """

    def __init__(
        self,
        depth: int,
        d_model: int,
        placement: str = "post",
        branch: str = "transformer",
        *,
        init_std: float | None = None,
        n_heads: int = 1,
        d_ff: int | None = None,
        activation: str = "gelu",
        attention: str = "scaled",
        norm: str = "layer",
        truncated: bool = True,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        depth, d_model = checked_integer("depth", depth, 0), checked_integer("d_model", d_model, 1)
        n_heads = checked_integer("n_heads", n_heads, 1)
        d_ff = 4 * d_model if d_ff is None else checked_integer("d_ff", d_ff, 1)
        if d_model % n_heads:
            raise ValueError(f"n_heads must divide d_model = {d_model}, got {n_heads}")
        std = d_model**-0.5 if init_std is None else init_std
        std = checked_number("init_std", std, "a finite number > 0", lambda value: 0 < value < math.inf)
        checked_choice("placement", placement, *PLACEMENTS)
        checked_choice("branch", branch, *BRANCHES)
        checked_choice("activation", activation, *_ACTIVATIONS)
        checked_choice("attention", attention, *ATTENTION)
        checked_choice("norm", norm, "layer", "rms")

        def new_norm() -> nn.Module:
            return (nn.LayerNorm if norm == "layer" else nn.RMSNorm)(d_model, eps=1e-5)

        def new_branch(kind: str) -> nn.Module:
            if kind == "linear":
                return dense(d_model, d_model, bias=False)
            if kind == "feed_forward":
                return FeedForward(d_model, d_ff, activation)
            return Attention(d_model, n_heads, scaled=attention == "scaled")

        kinds = ("attention", "feed_forward") if branch == "transformer" else (branch,)
        normed = placement in ("post", "pre", "deepnorm")
        skip, beta = residual_scales(placement, depth) if placement == "deepnorm" else (1.0, 1.0)
        blocks = [
            ResidualBlock(new_branch(kinds[i % len(kinds)]), new_norm() if normed else None, placement, skip)
            for i in range(depth)
        ]
        self.placement, self.blocks = placement, nn.ModuleList(blocks)
        self.final_norm = new_norm() if placement == "pre" else nn.Identity()
        self.to(dtype)
        last = 0.0 if placement == "fixup" else beta
        for block in blocks:
            for layer, factor in _factors(block.branch, beta, last, attention):
                fill_(layer.weight, factor * std, truncated, generator)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.final_norm(x)

    def stream(self, x: Tensor) -> list[Tensor]:
        """x_0, ..., x_L: the input and what each block makes of it, before the final Norm of "pre"."""
        states = [x]
        for block in self.blocks:
            states.append(block(states[-1]))
        return states

    def set_alpha(self, alpha: float) -> None:
        """Multiply all branches by alpha from now on, as `AlphaSchedule` wants; not with "rezero", which trains it."""
        alpha = checked_number("alpha", alpha, "a finite number", math.isfinite)
        if self.placement == "rezero":
            raise ValueError("placement must be another than 'rezero' for set_alpha: there alpha is a parameter")
        for block in self.blocks:
            block.alpha = alpha


def _factors(branch: nn.Module, first: float, last: float, attention: str) -> list[tuple[nn.Linear, float]]:
    """The layers of a branch with the factors of their standard deviations."""
    if isinstance(branch, nn.Linear):
        return [(branch, first * last)]
    if isinstance(branch, FeedForward):
        return [(branch.first, first), (branch.second, last)]
    q, k = (branch.d_head**power for power in ATTENTION[attention])
    return [(branch.query, q), (branch.key, k), (branch.value, first), (branch.output, last)]
