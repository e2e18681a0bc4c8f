"""Contrastive batches larger than one process or one forward pass: the same loss and the same gradient, in pieces.

Sources: NT-Xent (Chen et al. 2020, equation 1), https://arxiv.org/abs/2002.05709; every process its own rows of the
scores (Radford et al. 2021, section 2.5), https://arxiv.org/abs/2103.00020; chunks of a batch whose gradient is exact
(Gao et al. 2021, section 3), https://arxiv.org/abs/2101.06983. The loss is any mean over anchors,
as InfoNCE and FlatNCE are.

W processes hold n = N/W pairs each. A process group is needed, gloo or NCCL, and every process must make the same
calls.
"""

import math
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from helpers.contrastive_losses import unit_rows
from helpers.inputs import checked_integer, checked_number


class _AllGather(torch.autograd.Function):
    """The rows of all processes; backward, the sum over the processes of the gradient of one's own rows."""

    @staticmethod
    def forward(ctx, z: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.group, ctx.n = group, len(z)
        rows = z.new_empty(dist.get_world_size(group) * len(z), z.shape[1])
        dist.all_gather(list(rows.split(len(z))), z.contiguous(), group=group)
        return rows

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        total = grad.clone(memory_format=torch.contiguous_format)  # the sum is made in place
        dist.all_reduce(total, group=ctx.group)
        return total.split(ctx.n)[dist.get_rank(ctx.group)], None


def all_gather_with_grad(z: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """Rows of all processes in the order of their ranks [W n, d], through which gradients flow back to every process.

    The loss of one process then depends on the rows of all, and backward gives each process the gradient of the SUM of
    the losses of all processes. So let each take a mean over its own anchors and average the parameters' gradients over
    the processes, as DistributedDataParallel does: that is the gradient of the mean over all anchors. The same holds
    when every process computes the whole loss, W times over. What does not give it, with the relative error of the
    gradient of InfoNCE that examples/contrastive_distributed.py shows for W = 2 and 4:

    =============================================================================  =======  =======
    negatives of one's own process only: another, smaller problem                     0.11     0.24
    dist.all_gather, which has no gradient: nothing flows through the keys            0.38     0.38
    the same with one's own rows put back, loss over one's own anchors                0.27     0.43
    the same, loss over all anchors: right but for a factor 1/W (so take the sum)  1 - 1/2  1 - 1/4
    =============================================================================  =======  =======

    The value of the loss is right in the last three, so no loss curve shows the mistake.

    Parameters
    ----------
    z : [n, d], n ≥ 1, of the same shape in every process. group : the process group; the default one if None.

    Raises
    ------
    TypeError : z not a tensor. ValueError : z not 2-D or without rows, or not of the same shape in every process.
    RuntimeError : on differentiating twice.

    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)  # one process, for the example
    >>> all_gather_with_grad(torch.tensor([[1.0, 2.0]])).tolist(); dist.destroy_process_group()
    [[1.0, 2.0]]
    """
    _check_rows("z", z)
    shape = torch.tensor(z.shape, device=z.device)
    shapes = [torch.empty_like(shape) for _ in range(dist.get_world_size(group))]
    dist.all_gather(shapes, shape, group=group)
    shapes = [tuple(shape.tolist()) for shape in shapes]
    if len(set(shapes)) > 1:
        raise ValueError(f"z must have the same shape in every process, got {', '.join(map(str, shapes))}")
    return _AllGather.apply(z, group)


def distributed_nt_xent_scores(
    z: Tensor, temperature: float, group: dist.ProcessGroup | None = None
) -> tuple[Tensor, Tensor]:
    """The rows of NT-Xent's scores whose anchors are this process's: 1/W of the matrix, against the keys of all.

    The mean over the processes of ``loss(scores, target)`` is the one-process loss over all 2N views, for every loss
    that is a mean over anchors (InfoNCE, FlatNCE), and DDP's mean of the gradients is its gradient. Columns are in the
    order of `all_gather_with_grad`, with -inf where an anchor would meet itself.

    Parameters
    ----------
    z : [2n, d], floating; rows i and i + n are the two views of a sample. The same n in every process; N = W n ≥ 2.
        They are normalised here; half precision is computed in float32, also under autocast.
    temperature : τ > 0. group : the process group; the default one if None.

    Returns
    -------
    scores [2n, 2N] : cos(z_i, z_j)/τ. target [2n] : the column of the other view.

    Raises
    ------
    ValueError : z not 2-D or not floating, an odd number of rows, a row that cannot be normalised, not the same shape
        in every process, N = 1 (no negatives), temperature not a finite number > 0. TypeError : z not a tensor.

    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)  # one process, for the example
    >>> z = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
    >>> scores, target = distributed_nt_xent_scores(z, 0.5); dist.destroy_process_group()
    >>> scores.tolist()[0], target.tolist()
    ([-inf, 0.0, 2.0, 0.0], [2, 3, 0, 1])
    """
    _check_rows("z", z)
    if not z.is_floating_point():
        raise ValueError(f"z must be floating, got dtype {z.dtype}")
    if len(z) % 2:
        raise ValueError(f"z must have an even number of rows, views i and i + n of n samples, got {len(z)}")
    checked_number("temperature", temperature, "a finite number > 0", lambda value: 0 < value < math.inf)
    with torch.autocast(z.device.type, enabled=False):
        z = unit_rows(z)
        keys = all_gather_with_grad(z, group)
        if len(keys) < 4:
            raise ValueError(f"z must have at least 4 rows in all processes (N >= 2), got {len(keys)}: no negatives")
        own = dist.get_rank(group) * len(z) + torch.arange(len(z), device=z.device)
        scores = (z / temperature) @ keys.T
    scores.scatter_(1, own[:, None], -math.inf)  # in place: a copy would take as much memory again
    return scores, own.roll(len(z) // 2)


def grad_cache_backward(
    encoder: Callable[[Tensor], Tensor],
    view_a: Tensor,
    view_b: Tensor,
    loss_fn: Callable[[Tensor, Tensor], Tensor],
    chunk_size: int,
) -> Tensor:
    """Backward pass of ``loss_fn(encoder(view_a), encoder(view_b))`` with the activations of one chunk at a time.

    Plain accumulation of the gradients of small batches is that of a loss with few negatives. Here the loss sees all
    rows: the encoder runs chunk by chunk and keeps only its outputs, the loss is differentiated with respect to those,
    and each chunk is run again to take its part of that gradient on to the parameters. That costs one more forward pass
    and is what torch.utils.checkpoint does for a chunk, which also repeats its random numbers: dropout is exact. Batch
    normalisation is not: it takes its statistics from the chunk, and counts each twice.

    Parameters
    ----------
    encoder : rows to rows of outputs, usually a module; its parameters' ``grad`` is added to. view_a, view_b : [N,
        ...], the two views of N samples. loss_fn : of both outputs [N, d] to a scalar. chunk_size : rows per call of
        the encoder; one of N or more is one chunk.

    Returns
    -------
    The loss, detached.

    Raises
    ------
    TypeError : a view that is not a tensor. ValueError : views of different numbers of rows or none, chunk_size not an
        integer ≥ 1, an encoder that does not return a row per row, a loss that is not a scalar.

    >>> encoder = torch.nn.Linear(3, 2)
    >>> grad_cache_backward(encoder, torch.ones(5, 3), torch.zeros(5, 3), lambda a, b: (a - b).sum(), 2).shape
    torch.Size([])
    >>> encoder.weight.grad.tolist()
    [[5.0, 5.0, 5.0], [5.0, 5.0, 5.0]]
    """
    for name, view in (("view_a", view_a), ("view_b", view_b)):
        if not isinstance(view, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(view).__name__}")
    if view_a.ndim == 0 or view_b.ndim == 0 or not len(view_a) == len(view_b) > 0:
        shapes = f"{tuple(view_a.shape)} and {tuple(view_b.shape)}"
        raise ValueError(f"view_a and view_b must have the same number of rows, at least one, got shapes {shapes}")
    checked_integer("chunk_size", chunk_size, 1)

    def encoded(view: Tensor) -> Tensor:
        z = torch.cat([checkpoint(encoder, rows, use_reentrant=False) for rows in view.split(chunk_size)])
        if len(z) != len(view):
            raise ValueError(f"encoder must return one row per row, got {len(z)} for {len(view)}")
        return z

    loss = loss_fn(encoded(view_a), encoded(view_b))
    if loss.ndim:
        raise ValueError(f"loss_fn must return a scalar, got shape {tuple(loss.shape)}")
    loss.backward()
    return loss.detach()


def _check_rows(name: str, value: Tensor) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
    if value.ndim != 2 or 0 in value.shape:
        raise ValueError(f"{name} must be 2-D with at least one row and one column, got shape {tuple(value.shape)}")
