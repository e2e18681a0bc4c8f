"""Linear regions of a piecewise-linear critic: its pattern, where regions meet, the norms on both sides, its biases.

Article: Su Jianlin, https://kexue.fm/archives/8757, the paragraph on networks with ReLU or LeakyReLU.

The network is a `torch.nn.Sequential` of Linear layers with one of ReLU, LeakyReLU, PReLU between two of them and one
output; LeakyReLU(-1) is |z|. Everything is computed in float64 with NumPy from its weights, whatever their dtype. Every
function raises TypeError for another network, and ValueError for points that are not finite or of another width.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from helpers.affine_critic import boundary_jump
from helpers.input_gradients import check_critic, check_rows, critic_value
from helpers.inputs import Array, checked_integer, checked_number, checked_rows


@dataclass(frozen=True)
class Crossings:
    """Where K times a segment passes from one linear region into the next, sorted by segment and along each.

    segment : [K] its index. t : [K] in [0, 1), a + t(b - a). point : [K, d]. value : [K] D there, the same on both
    sides. grad_before, grad_after : [K, d] ∇D of the region that is left and of the one that is entered.
    """

    segment: NDArray[np.integer]
    t: Array
    point: Array
    value: Array
    grad_before: Array
    grad_after: Array

    @property
    def norm_before(self) -> Array:
        """|∇D| [K] of the region that is left."""
        return np.linalg.norm(self.grad_before, axis=1)

    @property
    def norm_after(self) -> Array:
        """|∇D| [K] of the region that is entered."""
        return np.linalg.norm(self.grad_after, axis=1)

    def jumps(self, mode: str = "gn", eps: float = 0.1) -> Array:
        """[K] what D̂ gains at each crossing, on the way from a to b: `helpers.affine_critic.boundary_jump`, and inner.

        Raises
        ------
        ValueError : an unknown mode, a bad eps, or a region without a gradient on either side.
        """
        inner = mode == "inner"
        jumps = boundary_jump(self.value, self.norm_before, self.norm_after, "plain" if inner else mode, eps)
        if inner:  # its value is ⟨g/n, x⟩, and x is the same on both sides
            turned = self.grad_after / self.norm_after[:, None] - self.grad_before / self.norm_before[:, None]
            jumps = (turned * self.point).sum(axis=1)
        return jumps


@dataclass(frozen=True)
class _Layer:
    """z = Wh + b, then z·(1 where z > 0, else leak)."""

    W: Array
    b: Array
    leak: Array

    def factor(self, on: NDArray[np.bool_]) -> Array:
        return np.where(on, 1.0, self.leak)


def activation_pattern(net: nn.Sequential, x: ArrayLike) -> NDArray[np.bool_]:
    """Which of the H hidden units are on (z > 0) at the rows of x [N, d]: bool [N, H], layer after layer.

    Two points with the same pattern lie in the same linear region.

    >>> net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
    >>> with torch.no_grad(): _ = net[0].weight.copy_(torch.tensor([[1.0], [-1.0]])), net[0].bias.zero_()
    >>> activation_pattern(net, [[2.0]]).tolist()
    [[True, False]]
    """
    hidden, _ = _layers(net)
    return np.concatenate(_pattern(hidden, _points("x", x, hidden)), axis=1)


def region_boundary_mask(net: nn.Sequential, lim: float, n: int) -> NDArray[np.bool_]:
    """Pixels of the square [-lim, lim]² next to a boundary: bool [n, n], rows y and columns x, both ascending.

    True where the pattern differs from that of the right or the upper neighbour. A region that is thinner than a pixel
    may be missed; `boundary_crossings` misses none.

    >>> net = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1))
    >>> with torch.no_grad(): _ = net[0].weight.copy_(torch.tensor([[1.0, 0.0]])), net[0].bias.zero_()
    >>> region_boundary_mask(net, 1.0, 4).astype(int).tolist()[0]
    [0, 1, 0, 0]
    """
    axis = np.linspace(-_checked_limit(lim), lim, checked_integer("n", n, 2))
    x, y = np.meshgrid(axis, axis)
    pattern = activation_pattern(net, np.stack([x, y], axis=-1).reshape(-1, 2)).reshape(n, n, -1)
    mask = np.zeros((n, n), dtype=bool)
    mask[:, :-1] = (pattern[:, 1:] != pattern[:, :-1]).any(-1)
    mask[:-1] |= (pattern[1:] != pattern[:-1]).any(-1)
    return mask


def grid_lines(lim: float, n: int) -> tuple[Array, Array]:
    """Ends a, b [2n, 2] of n horizontal and n vertical segments across [-lim, lim]², for `boundary_crossings`.

    >>> grid_lines(1.0, 2)[0].tolist()
    [[-1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]]
    """
    axis = np.linspace(-_checked_limit(lim), lim, checked_integer("n", n, 2))
    low, high = np.full_like(axis, -lim), np.full_like(axis, lim)
    starts = np.concatenate([np.stack([low, axis], 1), np.stack([axis, low], 1)])
    return starts, np.concatenate([np.stack([high, axis], 1), np.stack([axis, high], 1)])


def boundary_crossings(net: nn.Sequential, a: ArrayLike, b: ArrayLike) -> Crossings:
    """Every boundary between linear regions that the segments from a to b cross, exact to rounding.

    Inside a region all preactivations are affine along a segment, so that the nearest root among the units that move
    towards 0 is where the region ends. That unit is switched over, and the walk goes on with the new affine piece.
    Nothing is sampled: no region is too thin. A boundary through a itself may count as crossed at t = 0. (Planned as a
    bisection with brackets of each crossing; the walk gives the crossing itself, and both gradients at no extra cost.)

    Parameters
    ----------
    net : see the module. a, b : [M, d].

    Raises
    ------
    TypeError : the network, see the module. ValueError : a, b of different shape, not finite, of another width.

    >>> net = nn.Sequential(nn.Linear(1, 1), nn.LeakyReLU(-0.5), nn.Linear(1, 1))
    >>> with torch.no_grad(): _ = [p.fill_(2.0) for p in net.parameters()]
    >>> found = boundary_crossings(net, [[-2.0]], [[2.0]])
    >>> found.point.tolist(), found.value.tolist(), found.norm_before.tolist(), found.norm_after.tolist()
    ([[-1.0]], [2.0], [2.0], [4.0])
    """
    hidden, out = _layers(net)
    a, b = _points("a", a, hidden), _points("b", b, hidden)
    if a.shape != b.shape:
        raise ValueError(f"a and b must have the same shape, got {a.shape} and {b.shape}")
    segment, t, along = np.arange(len(a)), np.zeros(len(a)), b - a
    on = _pattern(hidden, a)
    width = np.cumsum([0] + [len(layer.b) for layer in hidden])
    found: list[tuple[Array, ...]] = []  # the state on entry to each region: segment, t, value, gradient
    # It ends: along a segment a first-layer unit switches at most once, and between two such events the second layer
    # is in the same position, and so on.
    while len(segment):
        factors = [layer.factor(state) for layer, state in zip(hidden, on, strict=True)]
        h, dh = a[segment] + t[:, None] * along[segment], along[segment]
        wait = np.empty((len(segment), width[-1]))
        for k, (layer, factor) in enumerate(zip(hidden, factors, strict=True)):
            z, dz = h @ layer.W.T + layer.b, dh @ layer.W.T
            towards = np.where(on[k], dz < 0, dz > 0)
            wait[:, width[k] : width[k + 1]] = np.maximum(
                -np.divide(z, dz, out=np.full_like(z, -np.inf), where=towards), 0
            )
            h, dh = z * factor, dz * factor
        found.append((segment, t, (h @ out.W.T + out.b)[:, 0], _gradient(hidden, out, factors)))
        unit = wait.argmin(1)
        t = t + wait[np.arange(len(t)), unit]
        stay = t < 1
        segment, t, unit = segment[stay], t[stay], unit[stay]
        on = [state[stay] for state in on]
        for k, state in enumerate(on):
            rows = np.flatnonzero((width[k] <= unit) & (unit < width[k + 1]))
            state[rows, unit[rows] - width[k]] ^= True
    segment, t, value, grad = (np.concatenate(each) for each in zip(*found, strict=True))
    order = np.argsort(segment, kind="stable")
    segment, t, value, grad = segment[order], t[order], value[order], grad[order]
    entered = np.flatnonzero(segment[1:] == segment[:-1]) + 1  # all entries but each segment's start
    segment, t, value = segment[entered], t[entered], value[entered]
    return Crossings(segment, t, a[segment] + t[:, None] * along[segment], value, grad[entered - 1], grad[entered])


def effective_bias(net: nn.Module, x: Tensor) -> Tensor:
    """Σ_l ⟨b_l, ∂D/∂b_l⟩ [N] at the rows of x [N, ...]: what ⟨∇D, x⟩ lacks to be D, for a piecewise-linear D.

    Such a network is homogeneous of degree 1 in x and all its biases together, so that Euler's identity reads
    D = ⟨∇D, x⟩ + Σ_l ⟨b_l, ∂D/∂b_l⟩. With smooth activations it does not hold. Comes without a graph.

    Parameters
    ----------
    net : any module to [N] or [N, 1] whose biases are all those of Linear layers. x : [N, ...], floating.

    Raises
    ------
    TypeError : a bias in a layer of another type. Others: see `helpers.input_gradients`.

    >>> net = nn.Linear(2, 1)
    >>> torch.equal(effective_bias(net, torch.zeros(3, 2)), net.bias.detach().expand(3))
    True
    """
    check_critic(net)
    check_rows("x", x, 1)
    for layer in net.modules():
        if getattr(layer, "bias", None) is not None and not isinstance(layer, nn.Linear):
            raise TypeError(f"net must have its biases in Linear layers, got one in {type(layer).__name__}")
    biased = [layer for layer in net.modules() if isinstance(layer, nn.Linear) and layer.bias is not None]
    seen: list[tuple[Tensor, Tensor]] = []

    def keep(layer: nn.Linear, _, output: Tensor) -> Tensor:
        seen.append((layer.bias, output))
        return output.clone()  # an activation that works in place may not overwrite what is differentiated

    hooks = [layer.register_forward_hook(keep) for layer in biased]
    with torch.enable_grad():
        try:
            value = critic_value(net, x.detach().clone().requires_grad_(), 1)
        finally:
            for hook in hooks:
                hook.remove()
        grads = torch.autograd.grad(value.sum(), [output for _, output in seen]) if seen else ()
    total = torch.zeros_like(value, requires_grad=False)
    for (bias, _), grad in zip(seen, grads, strict=True):
        total += (grad * bias.detach()).flatten(1).sum(1)
    return total


def _layers(net: nn.Sequential) -> tuple[list[_Layer], _Layer]:
    if not isinstance(net, nn.Sequential):
        raise TypeError(f"net must be a torch.nn.Sequential, got {type(net).__name__}")
    hidden: list[_Layer] = []
    pending: nn.Linear | None = None
    for layer in net:
        if isinstance(layer, nn.Linear) and pending is None:
            pending = layer
        elif isinstance(layer, nn.ReLU | nn.LeakyReLU | nn.PReLU) and pending is not None:
            leak = getattr(layer, "negative_slope", 0.0) if not isinstance(layer, nn.PReLU) else _numpy(layer.weight)
            hidden.append(_affine(pending, np.asarray(leak)))
            pending = None
        else:
            what = type(layer).__name__
            raise TypeError(f"net must alternate Linear and ReLU, LeakyReLU or PReLU, got {what} out of place")
    if pending is None or not hidden or pending.out_features != 1:
        raise TypeError("net must have a hidden layer and end in a Linear layer with one output")
    return hidden, _affine(pending, np.ones(1))


def _affine(layer: nn.Linear, leak: Array) -> _Layer:
    b = np.zeros(layer.out_features) if layer.bias is None else _numpy(layer.bias)
    return _Layer(_numpy(layer.weight), b, leak)


def _numpy(tensor: Tensor) -> Array:
    return tensor.detach().cpu().double().numpy()


def _pattern(hidden: list[_Layer], h: Array) -> list[NDArray[np.bool_]]:
    pattern = []
    for layer in hidden:
        z = h @ layer.W.T + layer.b
        pattern.append(z > 0)
        h = z * layer.factor(pattern[-1])
    return pattern


def _gradient(hidden: list[_Layer], out: _Layer, factors: list[Array]) -> Array:
    grad = np.broadcast_to(out.W, factors[-1].shape)
    for layer, factor in zip(reversed(hidden), reversed(factors), strict=True):
        grad = (grad * factor) @ layer.W
    return grad


def _points(name: str, value: ArrayLike, hidden: list[_Layer]) -> Array:
    return checked_rows(name, value, hidden[0].W.shape[1])


def _checked_limit(lim: float) -> float:
    return checked_number("lim", lim, "a finite number > 0", lambda value: 0 < value < math.inf)
