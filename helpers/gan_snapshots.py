"""Arrays as short text, so that trained critics and samples fit into a JSON table: half precision in base64."""

import base64
import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from helpers.inputs import checked_integer


def pack(array: ArrayLike) -> str:
    """The numbers of an array as text, each rounded to float16 (3 digits, up to 65504); `unpack` reads it.

    Raises
    ------
    ValueError : a number that is not finite in float16.

    >>> unpack(pack([[0.5, -2.0]]), (1, 2))
    array([[ 0.5, -2. ]], dtype=float32)
    """
    with np.errstate(over="ignore"):
        half = np.asarray(array).astype("<f2")
    if not np.isfinite(half).all():
        raise ValueError(f"array must be finite in float16, got {np.count_nonzero(~np.isfinite(half))} other value(s)")
    return base64.b64encode(half.tobytes()).decode("ascii")


def unpack(text: str, shape: Sequence[int]) -> NDArray[np.float32]:
    """The array of this shape that was packed into the text.

    Raises
    ------
    ValueError : the text holds another number of values.
    """
    values = np.frombuffer(base64.b64decode(text), dtype="<f2").astype(np.float32)
    if values.size != math.prod(shape):
        raise ValueError(f"shape must hold the {values.size} values of the text, got {tuple(shape)}")
    return values.reshape(shape)


def pack_critic(network: nn.Sequential) -> str:
    """Weights and biases of the Linear layers of a network, in order.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.LeakyReLU(0.2), nn.Linear(3, 1))
    >>> copy = unpack_critic(pack_critic(net), [2, 3, 1])
    >>> torch.allclose(copy(torch.ones(4, 2)), net(torch.ones(4, 2)), atol=1e-2)
    True
    """
    return pack(np.concatenate([p.detach().numpy().ravel() for p in network.parameters()]))


def unpack_critic(text: str, widths: Sequence[int]) -> nn.Sequential:
    """The network with these widths, from inputs to outputs, LeakyReLU(0.2) between its layers; float32.

    Raises
    ------
    ValueError : the text holds another number of values; widths not integers >= 1, or fewer than two.
    """
    sizes = [checked_integer("widths", width, 1) for width in widths]
    if len(sizes) < 2:
        raise ValueError(f"widths must hold at least two numbers, got {len(sizes)}")
    layers: list[nn.Module] = []
    for m, n in pairwise(sizes):
        layers += [nn.Linear(m, n), nn.LeakyReLU(0.2)]
    network = nn.Sequential(*layers[:-1]).requires_grad_(False)
    values = torch.from_numpy(unpack(text, [sum(p.numel() for p in network.parameters())]))
    nn.utils.vector_to_parameters(values, network.parameters())
    return network
