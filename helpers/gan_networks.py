"""Small networks of many seeds at once: critics and generators of the toy experiments.

Seeds are stacked in a leading dimension and share nothing but the arithmetic: Adam works element by element, so each
seed trains as it would alone.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from helpers.inputs import checked_choice, checked_integer


class MaxMin(nn.Module):
    """Larger and smaller of each pair of neighbours, in an even number of columns: |gradient| passes unchanged.

    Anil, Lucas and Grosse (2019), https://arxiv.org/abs/1811.05381, section 4.2.

    >>> MaxMin()(torch.tensor([[1.0, 2.0, 4.0, 3.0]]))
    tensor([[2., 1., 4., 3.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack([torch.maximum(a, b), torch.minimum(a, b)], dim=-1).flatten(-2)


ACTIVATIONS = {"leaky_relu": lambda: nn.LeakyReLU(0.2), "relu": nn.ReLU, "tanh": nn.Tanh, "maxmin": MaxMin}


class SeedBatchedMLP(nn.Module):
    """Fully connected networks with weights [S, inputs, outputs] and biases [S, 1, outputs], one for each of S seeds.

    The start is that of torch.nn.Linear: weights and biases uniform within ±1/√inputs.

    Parameters
    ----------
    seeds : different integers >= 0, at least one.
    d_in, d_out : inputs and outputs, >= 1.
    hidden : widths of the hidden layers, each >= 1 (and even for "maxmin"); may be empty.
    activation : after each hidden layer: "leaky_relu" (slope 0.2), "relu", "tanh" or "maxmin".
    bias : False leaves all biases out.
    key : integer >= 0; networks of the same seeds with another key start from other numbers.
    output : None, or "tanh" after the last layer.
    spectral : divides each weight by its largest singular value in every forward pass (Miyato et al. 2018,
        https://arxiv.org/abs/1802.05957, with the exact value in place of power iteration).
    dtype : of everything, torch.float32 or torch.float64.

    Raises
    ------
    ValueError : anything that is not as above.

    >>> net = SeedBatchedMLP([0, 1, 2], 2, [8], 1)
    >>> net(torch.zeros(3, 5, 2)).shape, net.single(0)(torch.zeros(5, 2)).shape
    (torch.Size([3, 5, 1]), torch.Size([5, 1]))
    """

    def __init__(
        self,
        seeds: Sequence[int],
        d_in: int,
        hidden: Sequence[int],
        d_out: int,
        activation: str = "leaky_relu",
        bias: bool = True,
        *,
        key: int = 0,
        output: str | None = None,
        spectral: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.seeds = checked_seeds(seeds)
        checked_choice("activation", activation, *ACTIVATIONS)
        checked_choice("output", output, None, "tanh")
        checked_choice("dtype", dtype, torch.float32, torch.float64)
        checked_integer("key", key, 0)
        ends = (checked_integer("d_in", d_in, 1), checked_integer("d_out", d_out, 1))
        self.widths = [ends[0], *(checked_integer("hidden", width, 1) for width in hidden), ends[1]]
        if activation == "maxmin" and any(width % 2 for width in self.widths[1:-1]):
            raise ValueError(f"hidden must hold even widths for maxmin, got {self.widths[1:-1]}")
        self.spectral = spectral
        self.activation, self.output = ACTIVATIONS[activation](), nn.Tanh() if output else None
        rngs = [np.random.default_rng([seed, key]) for seed in self.seeds]

        def start(rows: int, inputs: int, outputs: int) -> nn.Parameter:
            draws = np.stack([rng.uniform(-1, 1, (rows, outputs)) for rng in rngs]) / math.sqrt(inputs)
            return nn.Parameter(torch.tensor(draws, dtype=dtype))

        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for m, n in pairwise(self.widths):
            self.weights.append(start(m, m, n))
            if bias:
                self.biases.append(start(1, m, n))

    def effective_weights(self) -> list[Tensor]:
        """What the layers multiply by: the weights, over their largest singular values if `spectral`."""
        if not self.spectral:
            return list(self.weights)
        return [W / torch.linalg.matrix_norm(W, 2, keepdim=True) for W in self.weights]

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [S, n, d_out] of inputs [S, n, d_in], each seed with its own.

        Raises
        ------
        ValueError : any other shape of x.
        """
        if x.ndim != 3 or len(x) != len(self.seeds) or x.shape[2] != self.widths[0]:
            expected = f"({len(self.seeds)}, n, {self.widths[0]})"
            raise ValueError(f"x must have shape {expected}: seeds, rows, inputs; got {tuple(x.shape)}")
        weights = self.effective_weights()
        for k, W in enumerate(weights):
            x = torch.baddbmm(self.biases[k], x, W) if self.biases else torch.bmm(x, W)
            x = self.activation(x) if k < len(weights) - 1 else x
        return self.output(x) if self.output else x

    def single(self, k: int) -> nn.Sequential:
        """The network of the k-th seed alone, as Linear layers and activations; a copy without gradients."""
        layers: list[nn.Module] = []
        weights = [W[k].detach() for W in self.effective_weights()]
        for layer, W in enumerate(weights):
            linear = nn.Linear(*W.shape, bias=bool(self.biases), dtype=W.dtype)
            linear.weight.data = W.T.clone()
            if self.biases:
                linear.bias.data = self.biases[layer][k, 0].detach().clone()
            layers += [linear, self.activation] if layer < len(weights) - 1 else [linear]
        return nn.Sequential(*layers, *([self.output] if self.output else [])).requires_grad_(False)


def project_orthogonal_(weights: Iterable[Tensor]) -> None:
    """Replace weights [S, inputs, outputs] by the nearest matrices whose singular values are all 1, in place.

    W = U Σ V' becomes U V', the orthogonal factor of the polar decomposition.

    >>> W = torch.tensor([[[3.0, 0.0], [0.0, 0.5]]])
    >>> project_orthogonal_([W])
    >>> W
    tensor([[[1., 0.],
             [0., 1.]]])
    """
    with torch.no_grad():
        for W in weights:
            U, _, Vh = torch.linalg.svd(W, full_matrices=False)
            W.copy_(U @ Vh)


def tangent_gradients_(weights: Iterable[Tensor]) -> None:
    """Take from the gradients of orthogonal weights [S, inputs, outputs] the part that would change singular values.

    G becomes G - W sym(W'G), or G - sym(GW')W with fewer inputs than outputs: the gradient on the Stiefel manifold
    (Edelman, Arias and Smith 1998, https://arxiv.org/abs/physics/9806030). Without it Adam's step sizes are those of a
    direction in which the projection allows no step.
    """
    for W in weights:
        G, Q = W.grad, W.detach()
        tall = W.shape[1] >= W.shape[2]
        product = Q.mT @ G if tall else G @ Q.mT
        symmetric = (product + product.mT) / 2
        G.sub_(Q @ symmetric if tall else symmetric @ Q)


def checked_seeds(seeds: Sequence[int]) -> list[int]:
    """The seeds as a list, if they are different integers >= 0 and at least one; else ValueError."""
    found = [checked_integer("seeds", seed, 0) for seed in seeds]
    if not found or len(set(found)) < len(found):
        raise ValueError(f"seeds must be different and at least one, got {found}")
    return found
