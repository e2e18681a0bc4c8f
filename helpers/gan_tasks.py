"""Distributions in one and two dimensions, and digits, on which critics and generators are trained.

Critics get pairs p, q whose Wasserstein-1 distance is known exactly: a translation by m costs |m| whatever is
translated, and radial distributions cost what their radii cost. Generators get mixtures with known modes.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from helpers.inputs import Array, checked_integer, checked_number

Draw = Callable[[int, np.random.Generator], Array]


class CriticTask(NamedTuple):
    """Two distributions and what a critic could reach on them.

    `sample_p` and `sample_q` draw n points [n, dimension]. `wasserstein1` is the exact distance, `total_variation` the
    exact TV (to 1e-6 for "grid"): no bounded critic, |D| <= 1, has a value above 2 TV. `best_continuous_gn` is the
    value of s/(1+|s|) with s the centred optimal distance, which needs no jumps (None where it is not computed).
    """

    name: str
    dimension: int
    sample_p: Draw
    sample_q: Draw
    wasserstein1: float
    total_variation: float
    best_continuous_gn: float | None = None


class GanTask(NamedTuple):
    """One distribution to imitate: `scale` times what `draw` draws; centres [K, dimension] and std before scaling."""

    name: str
    dimension: int
    draw: Draw
    centers: Array | None = None
    std: float | None = None
    scale: float = 1.0

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n points [n, dimension].

        >>> scaled_task(GAN_TASKS["8 Gaussians"], 5).sample(3, np.random.default_rng(0)).shape
        (3, 2)
        """
        return self.scale * self.draw(checked_integer("n", n, 1), rng)


def _gaussian(mean: tuple[float, ...], std: float = 1.0) -> Draw:
    return lambda n, rng: np.array(mean) + std * rng.standard_normal((n, len(mean)))


def _mixture(centers: Array, std: float) -> Draw:
    return lambda n, rng: centers[rng.integers(len(centers), size=n)] + std * rng.standard_normal((n, centers.shape[1]))


def _circles(*radii: float) -> Draw:
    def draw(n: int, rng: np.random.Generator) -> Array:
        radius, angle = rng.choice(radii, size=(n, 1)), 2 * math.pi * rng.random((n, 1))
        return radius * np.hstack([np.cos(angle), np.sin(angle)])

    return draw


def swiss_curve(t: Array) -> Array:
    """Points [n, 2] of the spiral at t [n] from 0 to 1: one and a half turns, radius from 2/3 to 2.

    >>> swiss_curve(np.array([1.0])).round(6).tolist()
    [[0.0, 2.0]]
    """
    angle = 1.5 * math.pi * (1 + 2 * t)
    return 2 / (4.5 * math.pi) * (angle * np.stack([np.cos(angle), np.sin(angle)])).T


def _swiss_roll(n: int, rng: np.random.Generator) -> Array:
    return swiss_curve(rng.random(n)) + 0.05 * rng.standard_normal((n, 2))


_SPIKES = np.arange(-2.0, 3.0)[:, None]
_GRID = np.stack(np.meshgrid(_SPIKES, _SPIKES, indexing="ij"), axis=-1).reshape(-1, 2)
_OCTAGON = 2 * np.stack([np.cos(np.arange(8) * math.pi / 4), np.sin(np.arange(8) * math.pi / 4)], axis=1)

CRITIC_TASKS: dict[str, CriticTask] = {
    task.name: task
    for task in (
        CriticTask("shift 1", 1, _gaussian((0,)), _gaussian((1,)), 1.0, 0.3829249225, 0.4034357572),
        CriticTask("comb", 1, _mixture(_SPIKES, 0.05), _mixture(_SPIKES + 0.2, 0.05), 0.2, 0.9544997361),
        CriticTask("shift 5", 2, _gaussian((0, 0)), _gaussian((5, 0)), 5.0, 0.9875806693, 1.364952328),
        CriticTask(
            "two scales", 2, _gaussian((0, 0)), _gaussian((0, 0), 2.0), math.sqrt(math.pi / 2), 0.4724703937, 0.49637406
        ),
        CriticTask("ring", 2, _circles(1), _circles(2), 1.0, 1.0, 2 / 3),
        CriticTask("rings", 2, _circles(1, 3), _circles(2), 1.0, 1.0, 2 / 3),
        CriticTask("grid", 2, _mixture(_GRID, 0.05), _mixture(_GRID + np.array([0.5, 0]), 0.05), 0.5, 1.0),
    )
}
"""Pairs with an exact distance, by name."""

GAN_TASKS: dict[str, GanTask] = {
    task.name: task
    for task in (
        GanTask("8 Gaussians", 2, _mixture(_OCTAGON, 0.1), _OCTAGON, 0.1),
        GanTask("25 Gaussians", 2, _mixture(_GRID, 0.05), _GRID, 0.05),
        GanTask("swiss roll", 2, _swiss_roll),
    )
}
"""Distributions to imitate, by name."""


def scaled_task(task: GanTask, factor: float) -> GanTask:
    """The same distribution, `factor` times as large.

    Raises
    ------
    ValueError : factor not a finite number > 0.

    >>> scaled_task(GAN_TASKS["swiss roll"], 5).scale
    5.0
    """
    factor = checked_number("factor", factor, "a finite number > 0", lambda number: 0 < number < math.inf)
    return task._replace(scale=task.scale * factor)


def digits_task() -> GanTask:
    """The 1797 digits of scikit-learn, drawn with replacement: 64 pixels from -1 to 1.

    >>> digits_task().sample(5, np.random.default_rng(0)).shape
    (5, 64)
    """
    from sklearn.datasets import load_digits  # here, because it takes a second

    images = load_digits().data / 8 - 1
    return GanTask("digits", 64, lambda n, rng: images[rng.integers(len(images), size=n)])
