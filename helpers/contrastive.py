"""Contrastive learning: everything notebook 02 uses, under one name.

- `helpers.contrastive_losses`: InfoNCE in its spellings, FlatNCE, their scores, oracles and thresholds
- `helpers.contrastive_training`: two views of an image, small encoders trained in batches of seeds
- `helpers.contrastive_evaluation`: nearest neighbours and a linear probe on their features
- `helpers.contrastive_parallel`: batches larger than one process or one forward pass
"""

from helpers.contrastive_evaluation import digits_split, encoder_accuracies, knn_accuracy, linear_probe_accuracy
from helpers.contrastive_losses import (
    adam_step_fraction,
    contrastive_gradient_oracle,
    flat_nce,
    flat_nce_stop_gradient,
    info_nce,
    info_nce_cross_entropy,
    info_nce_log1p,
    info_nce_naive,
    log_mean_info_nce,
    log_xi,
    nt_xent_scores,
    unit_rows,
    zero_gradient_gap,
)
from helpers.contrastive_parallel import all_gather_with_grad, distributed_nt_xent_scores, grad_cache_backward
from helpers.contrastive_training import (
    Encoders,
    Training,
    augment,
    train_encoders,
    train_three_vectors,
    two_view_augment,
)

__all__ = [
    "Encoders",
    "Training",
    "adam_step_fraction",
    "all_gather_with_grad",
    "augment",
    "contrastive_gradient_oracle",
    "digits_split",
    "distributed_nt_xent_scores",
    "encoder_accuracies",
    "flat_nce",
    "flat_nce_stop_gradient",
    "grad_cache_backward",
    "info_nce",
    "info_nce_cross_entropy",
    "info_nce_log1p",
    "info_nce_naive",
    "knn_accuracy",
    "linear_probe_accuracy",
    "log_mean_info_nce",
    "log_xi",
    "nt_xent_scores",
    "train_encoders",
    "train_three_vectors",
    "two_view_augment",
    "unit_rows",
    "zero_gradient_gap",
]
