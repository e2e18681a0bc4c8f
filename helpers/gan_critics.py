"""Critics of every scheme that bounds the slope, for many seeds at once: their values and what they minimise.

Article: Su Jianlin, https://kexue.fm/archives/8757 (15 Nov 2021). Schemes: weight clipping (Arjovsky et al. 2017,
https://arxiv.org/abs/1701.07875), spectral norm (https://arxiv.org/abs/1802.05957), gradient penalty (Gulrajani et al.
2017, https://arxiv.org/abs/1704.00028), R1 (Mescheder et al. 2018, https://arxiv.org/abs/1801.04406), gradient
normalisation (GN https://arxiv.org/abs/2109.02235, GraN https://arxiv.org/abs/2111.03162, "plain" D/|∇D| and "inner"
⟨∇D/|∇D|, x⟩ of the article), and orthogonal weights with MaxMin (https://arxiv.org/abs/1811.05381).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from helpers.gan_networks import SeedBatchedMLP, project_orthogonal_
from helpers.inputs import checked_choice, checked_number
from helpers.lipschitz import clip_weights_, gradient_normalize, input_gradient, r1_penalty

SCHEMES = (
    "none", "clipping", "spectral norm", "GP", "one-sided GP", "R1", "GN", "GraN", "plain", "inner", "orthogonal",
)  # fmt: skip
STRENGTH = {"clipping": 0.1, "GP": 10.0, "one-sided GP": 10.0, "R1": 10.0, "GraN": 0.1}
"""The number that belongs to a scheme: bound of the weights, weight of a penalty, ε of GraN. Others have none."""
LOSSES = ("Wasserstein", "logistic")
MODES = {"GN": "gn", "GraN": "gran", "plain": "plain", "inner": "inner"}


class Critic(NamedTuple):
    """A network D and what is made of it: `critic(x)` is D or its normalised form, [S, n] for points x [S, n, d]."""

    network: SeedBatchedMLP
    scheme: str
    strength: float | None

    def __call__(self, x: Tensor) -> Tensor:
        if self.scheme not in MODES:
            return self.network(x).squeeze(2)
        eps = self.strength if self.scheme == "GraN" else 0.0
        graph = torch.is_grad_enabled()
        return gradient_normalize(self.network, x, MODES[self.scheme], eps, create_graph=graph, batch_dims=2)


def make_critic(
    seeds: Sequence[int],
    dimension: int,
    scheme: str,
    strength: float | None = None,
    hidden: Sequence[int] = (64, 64),
    bias: bool = True,
    dtype: torch.dtype = torch.float32,
) -> Critic:
    """A critic as it starts: LeakyReLU(0.2), or MaxMin and orthogonal weights for "orthogonal"; one output.

    Parameters
    ----------
    seeds, hidden, bias, dtype : as in `SeedBatchedMLP`. dimension : of the points.
    scheme : one of `SCHEMES`.
    strength : > 0 for the schemes in `STRENGTH`, whose number None stands for; None for the others.

    Raises
    ------
    ValueError : anything that is not as above.

    >>> make_critic([0, 1], 2, "GN")(torch.zeros(2, 5, 2)).shape
    torch.Size([2, 5])
    """
    checked_choice("scheme", scheme, *SCHEMES)
    if strength is not None and scheme not in STRENGTH:
        raise ValueError(f"strength must be None for {scheme!r}, which has no such number, got {strength!r}")
    strength = STRENGTH.get(scheme) if strength is None else strength
    if strength is not None:
        strength = checked_number("strength", strength, "a finite number > 0", lambda number: 0 < number < math.inf)
    activation = "maxmin" if scheme == "orthogonal" else "leaky_relu"
    spectral = scheme == "spectral norm"
    network = SeedBatchedMLP(seeds, dimension, hidden, 1, activation, bias, spectral=spectral, dtype=dtype)
    critic = Critic(network, scheme, strength)
    constrain_(critic)
    return critic


def critic_loss(critic: Critic, real: Tensor, fake: Tensor, mixing: Tensor, loss: str = "Wasserstein") -> Tensor:
    """What the critic minimises, [S]: its loss on points [S, n, d] and the penalty of its scheme.

    "Wasserstein" is mean D(fake) - mean D(real), "logistic" the cross entropy of real against fake. Penalties are on
    the gradient of the raw D: GP at the mixtures real + mixing (fake - real), mixing [S, n, 1], R1 at the real points.

    Raises
    ------
    ValueError : unknown loss.
    """
    checked_choice("loss", loss, *LOSSES)
    of_real, of_fake = critic(torch.cat([real, fake], dim=1)).split(real.shape[1], dim=1)
    if loss == "Wasserstein":
        value = of_fake.mean(1) - of_real.mean(1)
    else:
        value = F.softplus(of_fake).mean(1) + F.softplus(-of_real).mean(1)
    if critic.scheme in ("GP", "one-sided GP"):
        _, slope = input_gradient(critic.network, torch.lerp(real, fake, mixing), batch_dims=2)
        excess = slope.norm(dim=2) - 1
        excess = excess if critic.scheme == "GP" else excess.relu()
        value = value + critic.strength * excess.square().mean(1)
    elif critic.scheme == "R1":
        value = value + r1_penalty(critic.network, real, critic.strength, batch_dims=2)
    return value


def generator_loss(critic: Critic, fake: Tensor, loss: str = "Wasserstein") -> Tensor:
    """What the generator minimises, [S]: -mean D(fake), or the non-saturating mean softplus(-D(fake)).

    Raises
    ------
    ValueError : unknown loss.
    """
    checked_choice("loss", loss, *LOSSES)
    value = critic(fake)
    return -value.mean(1) if loss == "Wasserstein" else F.softplus(-value).mean(1)


def constrain_(critic: Critic) -> None:
    """Bring the weights back into the set of the scheme; at the start and after every update."""
    if critic.scheme == "clipping":
        clip_weights_(critic.network, critic.strength)
    elif critic.scheme == "orthogonal":
        project_orthogonal_(critic.network.weights)
