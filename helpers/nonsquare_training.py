"""Small fully connected networks, trained many seeds at once, whose schemes differ in the initial variances alone.

They test on real data what `helpers.initialization` says about layers of unequal width. Networks have no biases; a
hidden layer is followed by the activation. Seeds are stacked in a leading dimension and share nothing but arithmetic.
Start and batches depend on the seed and the widths alone: schemes can be compared seed by seed.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from helpers.initialization import init_variance, semi_orthogonal
from helpers.inputs import checked_choice, checked_integer, checked_number

SCHEMES = ("fan_in", "fan_out", "Xavier", "geometric", "harmonic", "quadratic", "orthogonal", "repaired", "default")
"""Names of the starts: six modes of `init_variance`, torch.nn.init.orthogonal_, the same with the variance of the
geometric mean, and normal weights with the variance of torch.nn.Linear."""

_MODES = {
    "Xavier": "fan_avg", "geometric": "fan_geo_avg", "harmonic": "fan_harmonic", "orthogonal": "max",
    "repaired": "fan_geo_avg",
}  # fmt: skip
_ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "linear": lambda x: x}
_OPTIMIZERS = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam}


class Networks(NamedTuple):
    """Trained weights, one [seeds, inputs, outputs] per layer, and the mean loss of every batch, [steps, seeds]."""

    weights: list[Tensor]
    losses: Tensor


def digits_split() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images of digits and their labels: 1347 [n, 64] to train on, 450 to test, the training inputs of second moment 1.

    The mean image is subtracted, then everything is divided by one number.

    >>> train, labels, test, _ = digits_split()
    >>> train.shape, test.shape, round(float(train.square().mean()), 6)
    (torch.Size([1347, 64]), torch.Size([450, 64]), 1.0)
    """
    from sklearn.datasets import load_digits  # here, because they take a second
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    train, test, *both = train_test_split(images, labels, test_size=0.25, stratify=labels, random_state=0)
    centre = train.mean(axis=0)
    scale = np.sqrt(np.mean((train - centre) ** 2))
    train, test = (torch.tensor((part - centre) / scale, dtype=torch.float32) for part in (train, test))
    return train, torch.tensor(both[0]), test, torch.tensor(both[1])


def initial_weights(
    widths: Sequence[int],
    scheme: str,
    seeds: Sequence[int],
    activation: str = "relu",
    last_scale: float = 1.0,
    dtype: torch.dtype = torch.float32,
) -> list[Tensor]:
    """Weights [seeds, inputs, outputs] of every layer; with ReLU hidden layers have twice the variance of the scheme.

    The exception is "default", which knows no activation: torch.nn.Linear has variance 1/(3 inputs) whatever follows.

    Parameters
    ----------
    widths : n_0, ..., n_L, at least two integers >= 1.
    scheme : one of `SCHEMES`.
    seeds : different integers >= 0, at least one.
    activation : "relu", "tanh" or "linear".
    last_scale : factor of the last layer's weights, > 0.
    dtype : torch.float32 or torch.float64.

    Raises
    ------
    ValueError : anything that is not as above.

    >>> [tuple(W.shape) for W in initial_weights([64, 256, 10], "geometric", seeds=range(3))]
    [(3, 64, 256), (3, 256, 10)]
    """
    checked_choice("scheme", scheme, *SCHEMES)
    checked_choice("activation", activation, *_ACTIVATIONS)
    last_scale = checked_number("last_scale", last_scale, "a finite number > 0", lambda x: 0 < x < math.inf)
    widths = [checked_integer("widths", width, 1) for width in widths]
    seeds = [checked_integer("seeds", seed, 0) for seed in seeds]
    if len(widths) < 2:
        raise ValueError(f"widths must hold at least two numbers, got {len(widths)}")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be different and at least one, got {seeds}")
    generators = [np.random.default_rng(seed) for seed in seeds]
    weights = []
    for layer, (m, n) in enumerate(pairwise(widths), start=1):
        last = layer == len(widths) - 1
        variance = 1 / (3 * m) if scheme == "default" else init_variance(m, n, _MODES.get(scheme, scheme))
        if activation == "relu" and not last and scheme != "default":
            variance *= 2
        W = np.stack([rng.standard_normal((m, n)) for rng in generators])
        if scheme in ("orthogonal", "repaired"):
            W = np.stack([semi_orthogonal(draw) for draw in W]) * math.sqrt(max(m, n))
        weights.append(torch.tensor(math.sqrt(variance) * (last_scale if last else 1) * W, dtype=dtype))
    return weights


def network_outputs(weights: Sequence[Tensor], x: Tensor, activation: str = "relu") -> Tensor:
    """Outputs [seeds, n, n_L] for inputs [n, n_0] that are the same for every seed, or [seeds, n, n_0].

    Raises
    ------
    ValueError : unknown activation.
    """
    checked_choice("activation", activation, *_ACTIVATIONS)
    h = x.to(weights[0].dtype).expand(len(weights[0]), -1, -1)
    for W in weights[:-1]:
        h = _ACTIVATIONS[activation](torch.bmm(h, W))
    return torch.bmm(h, weights[-1])


def network_losses(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean loss [seeds] of outputs [seeds, n, n_L]: cross entropy for integer labels, else mean squared error.

    Parameters
    ----------
    targets : labels [n] or [seeds, n] of integer type; or [n, n_L] or [seeds, n, n_L].

    >>> network_losses(torch.zeros(1, 3, 10), torch.tensor([1, 2, 3]))  # log 10
    tensor([2.3026])
    """
    if targets.is_floating_point():
        return (outputs - targets).square().mean(dim=(1, 2))
    labels = targets.expand(outputs.shape[:2])
    return F.cross_entropy(outputs.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape).mean(dim=1)


def train_networks(
    inputs: Tensor,
    targets: Tensor,
    widths: Sequence[int],
    scheme: str,
    learning_rate: float,
    epochs: int,
    seeds: Sequence[int],
    *,
    activation: str = "relu",
    optimizer: str = "SGD",
    batch_size: int = 64,
    last_scale: float = 1.0,
    steps: int | None = None,
    dtype: torch.dtype = torch.float32,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Networks:
    """Train one network per seed; the learning rate falls linearly to zero over the epochs.

    A run that diverges goes on and ends in losses that are not finite.

    Parameters
    ----------
    inputs, targets : [n, n_0] and labels [n], or targets [n, n_L] for the squared error.
    widths, scheme, seeds, activation, last_scale, dtype : as in `initial_weights`.
    learning_rate : > 0; the step size at the start.
    epochs, batch_size : >= 1; a last, smaller batch is left out. batch_size is at most n.
    optimizer : "SGD" (no momentum) or "Adam".
    steps : stop after so many, with the learning rates of the whole run; None goes to the end.
    progress : wraps the range of steps, for a progress bar.

    Raises
    ------
    ValueError : anything that is not as above.

    >>> train, labels, *_ = digits_split()
    >>> train_networks(train, labels, [64, 16, 10], "Xavier", 0.1, epochs=1, seeds=[0, 1]).losses.shape
    torch.Size([21, 2])
    """
    learning_rate = checked_number("learning_rate", learning_rate, "a finite number > 0", lambda x: 0 < x < math.inf)
    epochs, batch_size = checked_integer("epochs", epochs, 1), checked_integer("batch_size", batch_size, 1)
    checked_choice("optimizer", optimizer, *_OPTIMIZERS)
    if batch_size > len(inputs):
        raise ValueError(f"batch_size must be at most the number of inputs, {len(inputs)}, got {batch_size}")
    weights = initial_weights(widths, scheme, seeds, activation, last_scale, dtype)
    for W in weights:
        W.requires_grad_()
    inputs = inputs.to(dtype)
    targets = targets.to(dtype) if targets.is_floating_point() else targets
    rule = _OPTIMIZERS[optimizer](weights, lr=learning_rate)
    per_epoch = len(inputs) // batch_size
    total = epochs * per_epoch
    steps = total if steps is None else min(checked_integer("steps", steps, 0), total)
    generators = [np.random.default_rng([seed, 1]) for seed in seeds]
    losses = torch.empty(steps, len(seeds), dtype=dtype)
    for step in progress(range(steps)):
        if step % per_epoch == 0:
            order = torch.from_numpy(np.stack([rng.permutation(len(inputs)) for rng in generators]))
        first = step % per_epoch * batch_size
        rows = order[:, first : first + batch_size]
        rule.param_groups[0]["lr"] = learning_rate * (1 - step / total)
        batch = network_losses(network_outputs(weights, inputs[rows], activation), targets[rows])
        losses[step] = batch.detach()
        rule.zero_grad()
        batch.sum().backward()  # seeds do not mix: each has the gradient of its own loss
        rule.step()
    return Networks([W.detach() for W in weights], losses)
