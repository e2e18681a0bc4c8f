"""How far an optimiser moves a weight: Adam's step under noise, warm-up, and what a change of scale does to both.

Articles: Su Jianlin, https://kexue.fm/archives/8620 (17 Aug 2021, NTK parameterisation, slowly opened branches) and
https://kexue.fm/archives/8747 (8 Nov 2021, Adam and warm-up). Paper: Kingma & Ba (2015), arXiv:1412.6980.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from helpers.inputs import Array, checked_choice, checked_integer, checked_number


def adam_step_ratio(snr: ArrayLike, beta1: float = 0.9) -> tuple[Array, Array]:
    """Root mean square and mean of Adam's step in units of the learning rate, for a gradient of mean μ and noise σ.

    With r = μ/σ: √((r² + (1-β₁)/(1+β₁))/(1 + r²)) and r/√(1 + r²), once the averages have settled, for β₂ near 1 and ε
    small. Neither depends on the size of the gradient. Without signal the steps stay at √((1-β₁)/(1+β₁)), 0.23 of the
    learning rate. The shape is that of snr.

    Parameters
    ----------
    snr : signal-to-noise ratio r >= 0, a number or an array; inf for no noise.
    beta1 : decay of the average of the gradient, in [0, 1).

    Raises
    ------
    ValueError : snr negative or NaN, beta1 outside [0, 1).

    >>> [round(float(value), 6) for value in adam_step_ratio(0.1)]
    [0.249021, 0.099504]
    """
    beta1 = checked_number("beta1", beta1, "in [0, 1)", lambda value: 0 <= value < 1)
    angle = np.arctan(_checked_snr(snr))  # cos² = 1/(1 + r²) is the share of the noise in E g²
    return np.sqrt(1 - np.cos(angle) ** 2 * 2 * beta1 / (1 + beta1)), np.sin(angle)


def adam_displacement(n_steps: ArrayLike, snr: ArrayLike) -> Array:
    """Root mean square distance after n steps of Adam, in units of the learning rate: √((n + r²n²)/(1 + r²)).

    Diffusion, √n, until n = 1/r²; drift, r n, after. Averaging with β₁ delays steps but does not change this for n
    large beside 1/(1 - β₁). Arrays broadcast together.

    Raises
    ------
    ValueError : n_steps negative or not finite, snr negative or NaN.

    >>> round(float(adam_displacement(100, 0.1)), 6)  # drift and diffusion are equal
    14.071951
    """
    n = np.asarray(n_steps, dtype=np.float64)
    if not ((n >= 0) & np.isfinite(n)).all():
        raise ValueError(f"n_steps must be finite and >= 0, got {n_steps}")
    angle = np.arctan(_checked_snr(snr))
    return np.hypot(np.sqrt(n) * np.cos(angle), n * np.sin(angle))


def adam_first_step(g: ArrayLike, lr: float = 1e-3, eps: float = 1e-8) -> Array:
    """Adam's first step, -lr g/(|g| + ε): of size lr whatever g, down to |g| = ε, where it is lr/2.

    Raises
    ------
    ValueError : g not finite, lr negative, eps not positive.

    >>> adam_first_step([1e3, -1e-3, 1e-8, 0.0], lr=1.0).round(4).tolist()
    [-1.0, 1.0, -0.5, -0.0]
    """
    g = np.asarray(g, dtype=np.float64)
    if not np.isfinite(g).all():
        raise ValueError(f"g must be finite, got {g}")
    lr = checked_number("lr", lr, "a finite number >= 0", lambda value: 0 <= value < math.inf)
    eps = checked_number("eps", eps, "a finite number > 0", lambda value: 0 < value < math.inf)
    return -lr * g / (np.abs(g) + eps)


def equivalent_rates(scale: float, lr: float, eps: float = 1e-8, optimizer: str = "adam") -> tuple[float, float]:
    """(lr, ε) for θ = scale w that give the same trajectory of scale w' = θ as lr, ε for w; exact, from any start.

    A layer with the weight w and the factor `scale` in front computes the same as one with the weight θ = scale w.
    With "sgd" (any momentum) lr becomes lr scale², with "adam" lr scale and ε/scale. NTK parameterisation is scale
    1/√m for m inputs; T5's queries without 1/√d are scale 1/√d.

    Raises
    ------
    ValueError : scale or lr not a finite number > 0, eps negative or not finite, unknown optimizer.

    >>> equivalent_rates(0.125, 0.01)  # 64 inputs
    (0.00125, 8e-08)
    """
    scale = checked_number("scale", scale, "a finite number > 0", lambda value: 0 < value < math.inf)
    lr = checked_number("lr", lr, "a finite number > 0", lambda value: 0 < value < math.inf)
    eps = checked_number("eps", eps, "a finite number >= 0", lambda value: 0 <= value < math.inf)
    checked_choice("optimizer", optimizer, "adam", "sgd")
    return (lr * scale, eps / scale) if optimizer == "adam" else (lr * scale**2, eps)


def linear_warmup(step: int, warmup_steps: int, peak: float) -> float:
    """Learning rate of step 0, 1, ...: rising by peak/warmup_steps from that value to peak, then constant.

    Raises
    ------
    ValueError : step or warmup_steps no integer >= 0, peak negative or not finite.

    >>> [linear_warmup(step, 4, 1.0) for step in (0, 1, 3, 9)], linear_warmup(0, 0, 1.0)
    ([0.25, 0.5, 1.0, 1.0], 1.0)
    """
    step, warmup = checked_integer("step", step, 0), checked_integer("warmup_steps", warmup_steps, 0)
    peak = checked_number("peak", peak, "a finite number >= 0", lambda value: 0 <= value < math.inf)
    return peak * min(1.0, (step + 1) / warmup) if warmup else peak


@dataclass(frozen=True)
class AlphaSchedule:
    """The article's rule for branches: α of step 0, 1, ... grows from 0 by 1/steps per step to 1, and is not trained.

    Raises
    ------
    ValueError : steps no integer >= 1; called with a step that is no integer >= 0.

    >>> [AlphaSchedule(4)(step) for step in (0, 1, 4, 9)]
    [0.0, 0.25, 1.0, 1.0]
    """

    steps: int

    def __post_init__(self) -> None:
        checked_integer("steps", self.steps, 1)

    def __call__(self, step: int) -> float:
        return min(1.0, checked_integer("step", step, 0) / self.steps)


def _checked_snr(snr: ArrayLike) -> Array:
    r = np.asarray(snr, dtype=np.float64)
    if not (r >= 0).all():
        raise ValueError(f"snr must be >= 0, got {snr}")
    return r
