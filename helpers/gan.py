"""Training of critics and of generators against them, many seeds at once, for every way to bound a critic's slope.

Article: Su Jianlin, https://kexue.fm/archives/8757 (15 Nov 2021). The schemes are those of `helpers.gan_critics`.

Seeds are stacked in a leading dimension and share nothing but the arithmetic. What a seed starts from and sees depends
on the seed, the task and the sizes alone, so that schemes can be compared in pairs.
"""

import copy
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from helpers.gan_critics import LOSSES, MODES, STRENGTH, Critic, constrain_, critic_loss, generator_loss, make_critic
from helpers.gan_networks import SeedBatchedMLP, tangent_gradients_
from helpers.gan_tasks import CriticTask, GanTask
from helpers.inputs import checked_choice, checked_integer, checked_number

_BETAS = (0.5, 0.9)


class CriticTraining(NamedTuple):
    """The critic, the loss before each update [steps, S], and copies of the critic after so many updates."""

    critic: Critic
    losses: Tensor
    snapshots: dict[int, Critic]


class GanTraining(NamedTuple):
    """Generator and critic, the critic's last loss before each of its updates [steps, S], and copies of both."""

    generator: SeedBatchedMLP
    critic: Critic
    losses: Tensor
    snapshots: dict[int, tuple[SeedBatchedMLP, Critic]]


def train_critic(
    task: CriticTask,
    scheme: str,
    steps: int,
    seeds: Sequence[int],
    *,
    strength: float | None = None,
    hidden: Sequence[int] = (64, 64),
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    snapshots: Collection[int] = (),
    dtype: torch.dtype = torch.float32,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> CriticTraining:
    """Train one critic per seed to tell p from q by the Wasserstein loss, on fresh points in every step.

    Parameters
    ----------
    task : one of `CRITIC_TASKS`, or any other pair of distributions.
    scheme, seeds, strength, hidden, dtype : as in `make_critic`.
    steps : updates by Adam with β = (0.5, 0.9), >= 0.
    batch_size : points of p, and of q, in a step, >= 1. learning_rate : > 0.
    snapshots : numbers of updates, from 0 to steps, after which the critic is copied.
    progress : wraps the range of steps, for a progress bar.

    Raises
    ------
    ValueError : anything that is not as above, or a normalised critic whose values are no longer finite.

    >>> from helpers.gan_tasks import CRITIC_TASKS
    >>> run = train_critic(CRITIC_TASKS["shift 1"], "GN", 3, seeds=[0, 1], snapshots=[0, 3])
    >>> run.losses.shape, sorted(run.snapshots)
    (torch.Size([3, 2]), [0, 3])
    """
    critic = make_critic(seeds, task.dimension, scheme, strength, hidden, dtype=dtype)
    _check_sizes(steps, batch_size, learning_rate, snapshots)
    update = _adam(critic.network, learning_rate)
    sources = _sources(critic.network.seeds)
    losses = torch.empty(steps, len(sources), dtype=dtype)
    copies: dict[int, Critic] = {}
    for step in progress(range(steps)):
        if step in snapshots:
            copies[step] = copy.deepcopy(critic)
        real = _drawn(sources, lambda rng: task.sample_p(batch_size, rng), dtype)
        fake = _drawn(sources, lambda rng: task.sample_q(batch_size, rng), dtype)
        losses[step] = _descend(critic, update, real, fake, sources, "Wasserstein")
    if steps in snapshots:
        copies[steps] = copy.deepcopy(critic)
    critic.network.requires_grad_(False)
    return CriticTraining(critic, losses, copies)


def train_gan(
    task: GanTask,
    scheme: str,
    steps: int,
    seeds: Sequence[int],
    *,
    loss: str = "Wasserstein",
    generator_scheme: str | None = None,
    strength: float | None = None,
    hidden: Sequence[int] = (64, 64),
    latent: int = 4,
    batch_size: int = 128,
    critic_steps: int = 5,
    learning_rate: float = 1e-3,
    bias: bool = True,
    output: str | None = None,
    snapshots: Collection[int] = (),
    dtype: torch.dtype = torch.float32,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> GanTraining:
    """Train one generator per seed, latent - hidden - dimension with ReLU, against a critic of the same widths.

    Parameters
    ----------
    task : one of `GAN_TASKS`, or any other.
    scheme, seeds, strength, hidden, dtype : of the critic, as in `make_critic`; bias too.
    steps : updates of the generator by Adam with β = (0.5, 0.9), >= 0; each after `critic_steps` >= 1 of the critic.
    loss : "Wasserstein" or "logistic" (non-saturating), of both.
    generator_scheme : form of the critic that the generator sees ("none", "GN", …); None takes that of the critic.
    latent : standard normal numbers that the generator starts from, >= 1. output : None, or "tanh".
    batch_size, learning_rate, snapshots, progress : as in `train_critic`.

    Raises
    ------
    ValueError : anything that is not as above, or a normalised critic whose values are no longer finite.

    >>> from helpers.gan_tasks import GAN_TASKS
    >>> train_gan(GAN_TASKS["swiss roll"], "GP", 2, seeds=[0, 1, 2], critic_steps=1).losses.shape
    torch.Size([2, 3])
    """
    critic = make_critic(seeds, task.dimension, scheme, strength, hidden, bias, dtype)
    seen = critic
    if generator_scheme is not None:
        checked_choice("generator_scheme", generator_scheme, "none", *MODES)
        seen = Critic(critic.network, generator_scheme, STRENGTH.get(generator_scheme))
    checked_choice("loss", loss, *LOSSES)
    _check_sizes(steps, batch_size, learning_rate, snapshots)
    checked_integer("critic_steps", critic_steps, 1)
    generator = SeedBatchedMLP(seeds, latent, hidden, task.dimension, "relu", key=1, output=output, dtype=dtype)
    update, generator_update = _adam(critic.network, learning_rate), _adam(generator, learning_rate)
    sources = _sources(critic.network.seeds)
    losses = torch.empty(steps, len(sources), dtype=dtype)
    copies: dict[int, tuple[SeedBatchedMLP, Critic]] = {}

    def noise() -> Tensor:
        return _drawn(sources, lambda rng: rng.standard_normal((batch_size, latent)), dtype)

    for step in progress(range(steps)):
        if step in snapshots:
            copies[step] = copy.deepcopy((generator, critic))
        for _ in range(critic_steps):
            real = _drawn(sources, lambda rng: task.sample(batch_size, rng), dtype)
            with torch.no_grad():
                fake = generator(noise())
            losses[step] = _descend(critic, update, real, fake, sources, loss)
        critic.network.requires_grad_(False)
        generator_update.zero_grad()
        generator_loss(seen, generator(noise()), loss).sum().backward()
        generator_update.step()
        critic.network.requires_grad_(True)
    if steps in snapshots:
        copies[steps] = copy.deepcopy((generator, critic))
    generator.requires_grad_(False)
    critic.network.requires_grad_(False)
    return GanTraining(generator, critic, losses, copies)


def generated(generator: SeedBatchedMLP, n: int, seed: int = 0) -> Tensor:
    """n points of each generator, [S, n, d], all from the same noise, which `seed` decides.

    >>> generated(SeedBatchedMLP([0, 1], 4, [8], 2), 10).shape
    torch.Size([2, 10, 2])
    """
    shape = (checked_integer("n", n, 1), generator.widths[0])
    z = np.random.default_rng([checked_integer("seed", seed, 0), 4]).standard_normal(shape)
    with torch.no_grad():
        return generator(torch.tensor(z, dtype=generator.weights[0].dtype).expand(len(generator.seeds), -1, -1))


def _descend(
    critic: Critic, update: torch.optim.Optimizer, real: Tensor, fake: Tensor, sources: list, loss: str
) -> Tensor:
    """One update of the critic; its loss [S] before."""
    mixing = _drawn(sources, lambda rng: rng.random((real.shape[1], 1)), real.dtype)
    value = critic_loss(critic, real, fake, mixing, loss)
    update.zero_grad()
    value.sum().backward()  # seeds do not mix: each has the gradient of its own loss
    if critic.scheme == "orthogonal":
        tangent_gradients_(critic.network.weights)
    update.step()
    constrain_(critic)
    return value.detach()


def _adam(network: SeedBatchedMLP, learning_rate: float) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), lr=learning_rate, betas=_BETAS, fused=True)


def _sources(seeds: Sequence[int]) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, 2]) for seed in seeds]


def _drawn(
    sources: Sequence[np.random.Generator], draw: Callable[[np.random.Generator], np.ndarray], dtype: torch.dtype
) -> Tensor:
    return torch.from_numpy(np.stack([draw(rng) for rng in sources])).to(dtype)


def _check_sizes(steps: int, batch_size: int, learning_rate: float, snapshots: Collection[int]) -> None:
    checked_integer("steps", steps, 0)
    checked_integer("batch_size", batch_size, 1)
    checked_number("learning_rate", learning_rate, "a finite number > 0", lambda number: 0 < number < math.inf)
    for snapshot in snapshots:
        if checked_integer("snapshots", snapshot, 0) > steps:
            raise ValueError(f"snapshots must be at most steps ({steps}), got {snapshot}")
