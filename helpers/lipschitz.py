"""Holding a critic to slope 1: input gradients, gradient normalisation, penalties, clipping, and how to test them.

Article: Su Jianlin, https://kexue.fm/archives/8757. Papers: WGAN (Arjovsky et al. 2017),
https://arxiv.org/abs/1701.07875; gradient penalty (Gulrajani et al. 2017), https://arxiv.org/abs/1704.00028; R1
(Mescheder et al. 2018), https://arxiv.org/abs/1801.04406; GN (Wu et al. 2021), https://arxiv.org/abs/2109.02235; GraN
(Bhaskara et al. 2022), https://arxiv.org/abs/2111.03162.

Critics, rows, `batch_dims` and what is raised for bad ones: see `helpers.input_gradients`.
"""

import math

import torch
from torch import Tensor, nn

from helpers.affine_critic import (
    MODES,
    boundary_jump,
    check_mode,
    gradient_norm_affine,
    gradient_penalty_slopes,
    max_boundary_jump,
    normalized_value,
    slope_factor,
    two_piece_gradients,
    two_piece_norm,
    two_piece_value,
)
from helpers.input_gradients import Critic, check_critic, check_rows, critic_value, input_gradient, row_norm
from helpers.inputs import checked_number

__all__ = [
    "MODES",
    "boundary_jump",
    "clip_weights_",
    "difference_quotient",
    "generator_direction",
    "gradient_norm_affine",
    "gradient_normalize",
    "gradient_penalty",
    "gradient_penalty_slopes",
    "input_gradient",
    "local_norm",
    "max_boundary_jump",
    "normalized_value",
    "r1_penalty",
    "two_piece_gradients",
    "two_piece_norm",
    "two_piece_value",
]

_PIECEWISE_LINEAR = (
    *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Flatten, nn.Unflatten, nn.Identity, nn.ReLU, nn.LeakyReLU),
    *(nn.PReLU, nn.ReLU6, nn.Hardtanh, nn.AvgPool1d, nn.AvgPool2d, nn.MaxPool1d, nn.MaxPool2d),
    *(nn.Sequential, nn.ModuleList, nn.ParameterList, nn.ParameterDict),  # empty ones: no layers
)


def gradient_normalize(
    critic: Critic, x: Tensor, mode: str = "gn", eps: float = 0.1, create_graph: bool = True, *, batch_dims: int = 1
) -> Tensor:
    """The rewritten critic D̂ [N], whose gradient has norm ≤ 1 inside each region of a piecewise-linear D.

    Between regions D̂ jumps, so this is *not* a Lipschitz constraint (`boundary_jump`, `difference_quotient`).

    Parameters
    ----------
    critic, x, create_graph : as in `input_gradient`.
    mode : raw D; gn D/(n + |D|) (ICCV paper, in (-1, 1)); gran D n/(n² + ε) (WACV paper); plain D/n and inner ⟨g/n, x⟩
        (article); add_eps D/(n + ε).
    eps : ε ≥ 0; > 0 for gran, whose ε is on the scale of n².

    Raises
    ------
    ValueError : unknown mode, eps out of range; n = 0 (a dead region) where that leaves nothing to divide by: plain,
        inner, and add_eps with ε = 0. There gn is the sign of D, 0 at D = 0, and gran is 0.
    TypeError, ValueError : the critic or x, see `helpers.input_gradients`.

    >>> gradient_normalize(lambda x: x @ torch.tensor([3.0, 4.0]) + 2, torch.tensor([[1.0, 0.0]])).item()
    0.5
    """
    check_mode(mode, eps, *MODES)
    if mode == "raw":
        check_critic(critic)
        check_rows("x", x, batch_dims)
        return critic_value(critic, x.clone(), batch_dims)
    value, grad = input_gradient(critic, x, create_graph, batch_dims=batch_dims)
    n = row_norm(grad, batch_dims)
    if mode == "gn":
        size = n + value.abs()
        return value / size.masked_fill(size == 0, torch.inf)  # 0/0 becomes 0, and its gradient too
    _check_alive(n, mode, eps)
    if mode == "inner":
        return (grad * x).flatten(batch_dims).sum(-1) / n
    return value * slope_factor(value, n, mode, eps)


def generator_direction(
    critic: Critic, x: Tensor, mode: str = "gn", eps: float = 0.1, *, batch_dims: int = 1
) -> Tensor:
    """∇D̂ [N, ...] of a piecewise-linear critic in closed form: without second derivatives, since ∇n = 0 in a region.

    `fake.backward(-generator_direction(critic, fake) / N)` gives a generator the gradient of -mean(D̂(fake)). Modes and
    errors as in `gradient_normalize`. At n = 0: gn and gran 0. The result has no graph.

    Raises
    ------
    TypeError : the critic holds a layer of torch.nn that is not piecewise linear; layers of one's own are trusted.

    >>> generator_direction(nn.Linear(2, 1), torch.zeros(1, 2), "plain").norm().round(decimals=6).item()
    1.0
    """
    check_mode(mode, eps, *MODES)
    for layer in critic.modules() if isinstance(critic, nn.Module) else ():
        known = type(layer).__module__.startswith("torch.nn.modules") and not list(layer.children())
        if known and not isinstance(layer, _PIECEWISE_LINEAR):
            raise TypeError(f"critic must be piecewise linear, got a layer {type(layer).__name__}")
    with torch.no_grad():
        value, grad = input_gradient(critic, x, batch_dims=batch_dims)
        n = row_norm(grad, batch_dims)
        _check_alive(n, mode, eps)
        factor = slope_factor(value, n.masked_fill(n == 0, 1), mode, eps)
        return grad * factor.reshape(factor.shape + (1,) * (grad.ndim - batch_dims))


def local_norm(critic: Critic, x: Tensor, mode: str = "raw", eps: float = 0.1, *, batch_dims: int = 1) -> Tensor:
    """|∇D̂| [N] by autograd, second derivatives of D included: for smooth critics too. Without a graph.

    On a piecewise-linear critic it agrees with `gradient_norm_affine`, and sees none of the jumps.

    >>> local_norm(lambda x: x @ torch.tensor([3.0, 4.0]) + 2, torch.tensor([[1.0, 0.0]]), "gn").item()
    0.25
    """

    def normalized(points: Tensor) -> Tensor:
        return gradient_normalize(critic, points, mode, eps, batch_dims=batch_dims)

    _, grad = input_gradient(normalized, x, create_graph=False, batch_dims=batch_dims)
    return row_norm(grad, batch_dims)


def difference_quotient(
    f: Critic, x: Tensor, radius: float, generator: torch.Generator, *, batch_dims: int = 1
) -> Tensor:
    """|f(x + δ) - f(x)|/|δ| [N] for one random direction δ of length radius per row: what a Lipschitz bound bounds.

    Parameters
    ----------
    f : as a critic, for instance `lambda x: gradient_normalize(critic, x)`. x : [N, ...], floating.
    radius : > 0. generator : draws the directions.

    >>> x = torch.zeros(3, 1, dtype=torch.float64)
    >>> difference_quotient(lambda x: 2 * x, x, 0.5, torch.Generator().manual_seed(0)).tolist()
    [2.0, 2.0, 2.0]
    """
    checked_number("radius", radius, "a finite number > 0", lambda value: 0 < value < math.inf)
    check_rows("x", x, batch_dims)
    with torch.no_grad():
        step = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        step *= radius / row_norm(step, batch_dims).reshape(x.shape[:batch_dims] + (1,) * (x.ndim - batch_dims))
        y = x + step
        length = row_norm(y - x, batch_dims)  # after rounding: in float32 a short step far out changes its length
        if not length.min() > 0:
            raise ValueError(f"radius must not round to 0 against x, got {radius!r} in {x.dtype}")
        return (critic_value(f, y, batch_dims) - critic_value(f, x.clone(), batch_dims)).abs().detach() / length


def gradient_penalty(
    critic: Critic,
    real: Tensor,
    fake: Tensor,
    weight: float = 10.0,
    one_sided: bool = False,
    *,
    generator: torch.Generator,
    batch_dims: int = 1,
) -> Tensor:
    """λ E(|∇D(x̂)| - 1)² at x̂ = αx_real + (1 - α)x_fake, α ~ U[0, 1] for each row; one-sided: λ E relu(|∇D| - 1)².

    Scalar, or [S] with two batch axes (the mean is over the last). Differentiable by the critic's parameters; real and
    fake count as constants.

    Parameters
    ----------
    real, fake : [N, ...], same shape. weight : λ ≥ 0. generator : draws α.

    Raises
    ------
    ValueError : real and fake differ in shape, weight < 0; others: `helpers.input_gradients`.

    >>> one, zero = torch.ones(4, 2), torch.zeros(4, 2)
    >>> gradient_penalty(lambda x: 3 * x[:, 0], one, zero, generator=torch.Generator().manual_seed(0)).item()
    40.0
    """
    _check_weight(weight)
    check_rows("real", real, batch_dims)
    check_rows("fake", fake, batch_dims)
    if real.shape != fake.shape:
        raise ValueError(f"real and fake must have the same shape, got {tuple(real.shape)} and {tuple(fake.shape)}")
    ones = (1,) * (real.ndim - batch_dims)
    alpha = torch.rand(real.shape[:batch_dims] + ones, generator=generator, dtype=real.dtype, device=real.device)
    mixed = alpha * real.detach() + (1 - alpha) * fake.detach()
    _, grad = input_gradient(critic, mixed, batch_dims=batch_dims)
    excess = row_norm(grad, batch_dims) - 1
    return weight * (excess.relu() if one_sided else excess).square().mean(-1)


def r1_penalty(critic: Critic, real: Tensor, weight: float = 10.0, *, batch_dims: int = 1) -> Tensor:
    """(γ/2) E|∇D(x_real)|²: scalar, or [S] with two batch axes. weight : γ ≥ 0. It pulls the slope to 0, not to 1.

    >>> r1_penalty(lambda x: 3 * x[:, 0], torch.ones(4, 2)).item()
    45.0
    """
    _check_weight(weight)
    check_rows("real", real, batch_dims)
    _, grad = input_gradient(critic, real.detach(), batch_dims=batch_dims)
    return weight / 2 * grad.square().flatten(batch_dims).sum(-1).mean(-1)


def clip_weights_(module: nn.Module, c: float) -> None:
    """Clamp every parameter to [-c, c] in place, c > 0 (the first WGAN).

    >>> layer = nn.Linear(1, 1); clip_weights_(layer, 0.25); layer.weight.abs().item() <= 0.25
    True
    """
    checked_number("c", c, "a finite number > 0", lambda value: 0 < value < math.inf)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.clamp_(-c, c)


def _check_alive(n: Tensor, mode: str, eps: float) -> None:
    divides = mode in ("plain", "inner") or (mode == "add_eps" and eps == 0)
    if divides and (dead := (n == 0).sum().item()):
        raise ValueError(f"critic must have a gradient in x for mode {mode!r}, got |∇D| = 0 in {dead} row(s)")


def _check_weight(weight: float) -> None:
    checked_number("weight", weight, "a finite number >= 0", lambda value: 0 <= value < math.inf)
