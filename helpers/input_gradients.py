"""Values and input gradients of a critic, row by row, with the checks that everything built on them shares.

A critic is any callable from x [N, ...] to D [N] or [N, 1]; g = ∇D [N, ...] and n = |g| [N] are taken row by row.
`batch_dims`, 1 unless told, counts the leading batch axes: with 2, x is [S, N, ...] and D is [S, N] or [S, N, 1].
Every function that takes a critic and x raises TypeError for an x that is not a floating tensor, and ValueError for an
x without rows or features, a critic of another shape or that is no function of x, batch norm with the statistics of the
batch (each row's gradient would hold parts of all others'), and values or gradients that are NaN or infinite. x itself
is never changed.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from helpers.inputs import checked_integer

Critic = Callable[[Tensor], Tensor]


def input_gradient(
    critic: Critic, x: Tensor, create_graph: bool = True, *, batch_dims: int = 1
) -> tuple[Tensor, Tensor]:
    """Value D [N] and gradient ∇D [N, ...] of a critic at the rows of x.

    Works in `torch.no_grad` and `torch.inference_mode`, where both come back without a graph. An x that requires grad
    (a generator's) stays in the graph.

    Parameters
    ----------
    critic : see the module. x : [N, ...], floating.
    create_graph : whether the gradient can be differentiated again, by the critic's parameters and by x. With False a
        loss that holds ∇D still runs, with a wrong gradient: ∇D counts as a constant in it.

    Raises
    ------
    TypeError, ValueError : see the module.

    >>> value, grad = input_gradient(lambda x: (x**2).sum(1), torch.tensor([[1.0, 2.0]]))
    >>> value.item(), grad.tolist()
    (5.0, [[2.0, 4.0]])
    """
    check_critic(critic)
    check_rows("x", x, batch_dims)
    tracked = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.enable_grad():
        leaf = x if tracked and x.requires_grad else x.detach().clone().requires_grad_()
        value = critic_value(critic, leaf.clone(), batch_dims)  # a clone: the critic's first layer may work in place
        grad = None
        if value.requires_grad:
            options = {"create_graph": tracked and create_graph, "retain_graph": tracked, "allow_unused": True}
            (grad,) = torch.autograd.grad(value.sum(), leaf, **options)
        if grad is None:
            raise ValueError("critic(x) must depend on x through autograd, got a value without a gradient in x")
    if not math.isfinite((value.detach().sum() + grad.detach().sum()).item()):  # quick; a sum may also overflow
        bad = (~(value.isfinite() & grad.isfinite().flatten(batch_dims).all(-1))).sum().item()
        if bad:
            raise ValueError(f"critic(x) and its gradient must be finite, got NaN or infinity in {bad} row(s)")
    return (value, grad) if tracked else (value.detach(), grad)


def critic_value(critic: Critic, x: Tensor, batch_dims: int) -> Tensor:
    value = critic(x)
    rows = x.shape[:batch_dims]
    if not isinstance(value, Tensor) or value.shape not in (rows, (*rows, 1)):
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"critic(x) must have shape {tuple(rows)} or {(*rows, 1)}, one value per row, got {got}")
    return value.reshape(rows)


def row_norm(grad: Tensor, batch_dims: int) -> Tensor:
    return torch.linalg.vector_norm(grad.flatten(batch_dims), dim=-1)  # with gradient 0, not NaN, where it is 0


def check_critic(critic: Critic) -> None:
    for layer in critic.modules() if isinstance(critic, nn.Module) else ():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and (layer.training or layer.running_mean is None):
            raise ValueError(f"critic must not mix the rows of a batch, got a layer {type(layer).__name__} that does")


def check_rows(name: str, x: Tensor, batch_dims: int) -> None:
    checked_integer("batch_dims", batch_dims, 1)
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{name} must be a floating torch.Tensor, got {got}")
    if x.ndim <= batch_dims or x.numel() == 0:
        raise ValueError(f"{name} must have rows of features after {batch_dims} batch axes, got shape {tuple(x.shape)}")
