"""Deep plain networks on two noisy rings: the smallest setting in which gradients vanish, several seeds at once.

Article: Su Jianlin, https://kexue.fm/archives/8747 (8 Nov 2021). h_{l+1} = f(h_l W_l + b_l) with `WIDTH` features, W_l
normal with standard deviation gain/√WIDTH and b_l = 0 at first; optionally h_{l+1} = h_l + f(h_l W_l + b_l).
"""

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from helpers.inputs import Array, checked_choice, checked_integer, checked_number
from helpers.optimizer_steps import adam_first_step

ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid, "linear": lambda h: h}
OPTIMIZERS = ("sgd", "adam")
RATES = {"sgd": 0.1, "adam": 1e-3}
"""Learning rates: of SGD with momentum 0.9, and of Adam."""
WIDTH, POINTS, SEEDS = 32, 64, 5


def rings(points: int = POINTS, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points [n, 2] near circles of radius 0.5 (label 0, even rows) and 1.5 (label 1); noise 0.1. Labels are floats.

    >>> x, y = rings(1000)
    >>> [round(float(x[y == c].norm(dim=1).mean()), 1) for c in (0, 1)]
    [0.5, 1.5]
    """
    rng = np.random.default_rng(seed)
    label = np.arange(checked_integer("points", points, 2)) % 2
    angle = rng.uniform(0, 2 * math.pi, points)
    x = (0.5 + label)[:, None] * np.column_stack([np.cos(angle), np.sin(angle)]) + 0.1 * rng.standard_normal(
        (points, 2)
    )
    return torch.tensor(x), torch.tensor(label, dtype=torch.float64)


class PlainNetworks:
    """`SEEDS` networks of `depth` hidden layers, each with its own random weights, trained side by side.

    In float64: single precision would make the end of a training depend on the processor.

    Parameters
    ----------
    depth : number of square hidden layers, >= 1; one more layer reads the two coordinates, one gives the logit.
    activation : "tanh", "relu", "sigmoid" or "linear".
    gain : standard deviation of the weights times √WIDTH.
    skip : with h + f(...) instead of f(...).
    seed : of all weights.

    Raises
    ------
    ValueError : depth no integer >= 1, gain not a finite number > 0, unknown activation.

    >>> networks = PlainNetworks(4, "tanh", 0.5)
    >>> networks.states()[0].shape, networks.losses().shape
    (torch.Size([5, 64, 32]), torch.Size([5]))
    """

    def __init__(
        self, depth: int, activation: str = "tanh", gain: float = 1.0, *, skip: bool = False, seed: int = 0
    ) -> None:
        self.depth, self.skip = checked_integer("depth", depth, 1), skip
        checked_choice("activation", activation, *ACTIVATIONS)
        self.activation = ACTIVATIONS[activation]
        gain = checked_number("gain", gain, "a finite number > 0", lambda value: 0 < value < math.inf)
        self.x, self.y = rings()
        generator = torch.Generator().manual_seed(seed)
        normal = lambda *shape, std: std * torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
        self.first = normal(SEEDS, 2, WIDTH, std=2**-0.5)
        self.hidden = normal(self.depth, SEEDS, WIDTH, WIDTH, std=gain * WIDTH**-0.5)
        self.last = normal(SEEDS, WIDTH, 1, std=WIDTH**-0.5)
        shapes = (SEEDS, 1, WIDTH), (self.depth, SEEDS, 1, WIDTH), (SEEDS, 1, 1)
        self.biases = [torch.zeros(shape, dtype=torch.float64) for shape in shapes]
        for weight in self.parameters():
            weight.requires_grad_()

    def parameters(self) -> list[Tensor]:
        """All weights and biases; the first dimension, or the second of the hidden ones, counts the networks."""
        return [self.first, self.hidden, self.last, *self.biases]

    def states(self) -> list[Tensor]:
        """h_0, ..., h_depth [SEEDS, POINTS, WIDTH]."""
        h = [self.activation(self.x @ self.first + self.biases[0])]
        for weight, bias in zip(self.hidden, self.biases[1], strict=True):
            branch = self.activation(torch.baddbmm(bias, h[-1], weight))
            h.append(h[-1] + branch if self.skip else branch)
        return h

    def losses(self, states: list[Tensor] | None = None) -> Tensor:
        """Mean cross-entropy of each network, in nats [SEEDS]; ln 2 = 0.693 is that of a coin."""
        logits = ((states or self.states())[-1] @ self.last + self.biases[2]).squeeze(-1)
        each = F.binary_cross_entropy_with_logits(logits, self.y.expand_as(logits), reduction="none")
        return each.mean(dim=1)

    def gradients(self) -> dict[str, Array]:
        """What the loss sends back layer by layer, and the first steps it causes; root mean squares over the networks.

        Returns
        -------
        dict of arrays: "state" |∂L/∂h_l| [depth + 1], root of the sum over points and features; "weight" [depth], root
        mean square over the entries of ∂L/∂W_l; "sgd" and "adam" [depth], the first step of W_l relative to W_l.

        >>> found = PlainNetworks(10, "linear", 0.5).gradients()
        >>> bool(found["state"][0] < 0.01 * found["state"][-1])
        True
        """
        states = self.states()
        *of_states, of_weights = torch.autograd.grad(self.losses(states).sum(), [*states, self.hidden])
        root = lambda values, dims: values.square().mean(dim=dims).sqrt().numpy()  # noqa: E731
        g = of_weights.numpy()
        size = root(self.hidden.detach(), (1, 2, 3))
        steps = {"sgd": -RATES["sgd"] * g, "adam": adam_first_step(g, RATES["adam"])}
        scale = math.sqrt(POINTS * WIDTH)
        return {
            "state": np.array([float(root(grad, (0, 1, 2))) * scale for grad in of_states]),
            "weight": root(of_weights, (1, 2, 3)),
        } | {name: np.sqrt((step**2).mean(axis=(1, 2, 3))) / size for name, step in steps.items()}

    def train(self, optimizer: str, steps: int, progress: Callable[[Iterable[int]], Iterable[int]] = iter) -> Array:
        """Train in place on all points at once; the losses before each step and after the last [steps + 1, SEEDS].

        Raises
        ------
        ValueError : unknown optimizer, steps no integer >= 0.
        """
        checked_choice("optimizer", optimizer, *OPTIMIZERS)
        if optimizer == "adam":
            steered: torch.optim.Optimizer = torch.optim.Adam(self.parameters(), RATES["adam"])
        else:
            steered = torch.optim.SGD(self.parameters(), RATES["sgd"], momentum=0.9)
        found = []
        for _ in progress(range(checked_integer("steps", steps, 0))):
            losses = self.losses()
            found.append(losses.detach().numpy())
            steered.zero_grad()
            losses.sum().backward()  # the networks share nothing, so each gets the gradient of its own loss
            steered.step()
        return np.array([*found, self.losses().detach().numpy()], dtype=np.float64)
