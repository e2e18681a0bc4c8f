"""Critics of slope 1 and what they are for: everything notebook 08 uses, under one name.

- `helpers.lipschitz`: input gradients, gradient normalisation, penalties, clipping, difference quotients
- `helpers.affine_critic`: the same on one affine piece, in closed form; jumps between two of them
- `helpers.critic_regions`: the linear regions of a network, every boundary a segment crosses
- `helpers.transport`: exact Wasserstein-1 distances, total variation, lost modes
- `helpers.gan_tasks`, `helpers.gan_networks`, `helpers.gan_critics`, `helpers.gan`: toy distributions, batches of
  seeds, schemes, training
- `helpers.gan_evaluation`, `helpers.gan_snapshots`: judging critics and samples, reading stored ones
"""

from helpers.critic_regions import (
    Crossings,
    activation_pattern,
    boundary_crossings,
    effective_bias,
    grid_lines,
    region_boundary_mask,
)
from helpers.gan import CriticTraining, GanTraining, generated, train_critic, train_gan
from helpers.gan_critics import LOSSES, SCHEMES, STRENGTH, Critic, critic_loss, generator_loss, make_critic
from helpers.gan_evaluation import (
    autograd_gap,
    digits_features,
    estimate_distance,
    frechet_distance,
    judge_critic,
    judge_samples,
    swiss_coverage,
)
from helpers.gan_networks import MaxMin, SeedBatchedMLP, project_orthogonal_, tangent_gradients_
from helpers.gan_snapshots import pack, pack_critic, unpack, unpack_critic
from helpers.gan_tasks import CRITIC_TASKS, GAN_TASKS, CriticTask, GanTask, digits_task, scaled_task, swiss_curve
from helpers.lipschitz import (
    MODES,
    boundary_jump,
    clip_weights_,
    difference_quotient,
    generator_direction,
    gradient_norm_affine,
    gradient_normalize,
    gradient_penalty,
    gradient_penalty_slopes,
    input_gradient,
    local_norm,
    max_boundary_jump,
    normalized_value,
    r1_penalty,
    two_piece_gradients,
    two_piece_norm,
    two_piece_value,
)
from helpers.transport import (
    maximum_mean_discrepancy,
    mode_coverage,
    total_variation_gaussian_1d,
    wasserstein1_1d,
    wasserstein1_assignment,
    wasserstein1_gaussian_1d,
)

__all__ = [
    "CRITIC_TASKS",
    "GAN_TASKS",
    "LOSSES",
    "MODES",
    "SCHEMES",
    "STRENGTH",
    "Critic",
    "CriticTask",
    "CriticTraining",
    "Crossings",
    "GanTask",
    "GanTraining",
    "MaxMin",
    "SeedBatchedMLP",
    "activation_pattern",
    "autograd_gap",
    "boundary_crossings",
    "boundary_jump",
    "clip_weights_",
    "critic_loss",
    "difference_quotient",
    "digits_features",
    "digits_task",
    "effective_bias",
    "estimate_distance",
    "frechet_distance",
    "generated",
    "generator_direction",
    "generator_loss",
    "gradient_norm_affine",
    "gradient_normalize",
    "gradient_penalty",
    "gradient_penalty_slopes",
    "grid_lines",
    "input_gradient",
    "judge_critic",
    "judge_samples",
    "local_norm",
    "make_critic",
    "max_boundary_jump",
    "maximum_mean_discrepancy",
    "mode_coverage",
    "normalized_value",
    "pack",
    "pack_critic",
    "project_orthogonal_",
    "r1_penalty",
    "region_boundary_mask",
    "scaled_task",
    "swiss_coverage",
    "swiss_curve",
    "tangent_gradients_",
    "total_variation_gaussian_1d",
    "train_critic",
    "train_gan",
    "two_piece_gradients",
    "two_piece_norm",
    "two_piece_value",
    "unpack",
    "unpack_critic",
    "wasserstein1_1d",
    "wasserstein1_assignment",
    "wasserstein1_gaussian_1d",
]
