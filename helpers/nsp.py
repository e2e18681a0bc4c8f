"""Next-sentence prediction as a zero-shot classifier: everything notebook 05 uses, under one name.

- `helpers.tiny_bert`: the model, and the one that is shipped
- `helpers.nsp_encoding`: pairs, templates, what is cut
- `helpers.nsp_batches`, `helpers.nsp_scoring`: scores, calibration, the PET prompt, occlusion
- `helpers.nsp_transformers`: any BERT of transformers with an NSP head
- `helpers.nsp_theory`: the score as pointwise mutual information, on a toy
- `helpers.samples_contrast`: classes from one score per sample
- `helpers.nsp_baselines`: TF-IDF, LSA, word embeddings, few labelled texts
- `helpers.bootstrap`: accuracies and their intervals
"""

from helpers.bootstrap import balanced_accuracy, bootstrap_ci
from helpers.nsp_baselines import TextSpace, embedding_label_scores, few_shot_predictions, label_in_text, token_idf
from helpers.nsp_batches import TruncationWarning
from helpers.nsp_encoding import TEMPLATES, TextReport, encode_pairs, fill_template, text_report, two_stage_prompt
from helpers.nsp_scoring import (
    calibration_bias,
    classify,
    content_free_bias,
    mlm_label_scores,
    nsp_scores,
    occlusion,
    pair_scores,
)
from helpers.nsp_theory import (
    binary_loss,
    conditional_log_probability,
    fit_binary_logits,
    optimal_scores,
    pmi_matrix,
    sampled_logits,
    topic_chain,
)
from helpers.nsp_transformers import TransformersBert, load_nsp_model
from helpers.samples_contrast import (
    apply_thresholds,
    batched_samples_contrast,
    quantile_thresholds,
    samples_contrast,
)
from helpers.tiny_bert import TinyBert, TinyBertConfig, from_hf_state_dict, load_tiny_bert, to_hf_state_dict

__all__ = [
    "TEMPLATES",
    "TextReport",
    "TextSpace",
    "TinyBert",
    "TinyBertConfig",
    "TransformersBert",
    "TruncationWarning",
    "apply_thresholds",
    "balanced_accuracy",
    "batched_samples_contrast",
    "binary_loss",
    "bootstrap_ci",
    "calibration_bias",
    "classify",
    "conditional_log_probability",
    "content_free_bias",
    "embedding_label_scores",
    "encode_pairs",
    "few_shot_predictions",
    "fill_template",
    "fit_binary_logits",
    "from_hf_state_dict",
    "label_in_text",
    "load_nsp_model",
    "load_tiny_bert",
    "mlm_label_scores",
    "nsp_scores",
    "occlusion",
    "optimal_scores",
    "pair_scores",
    "pmi_matrix",
    "quantile_thresholds",
    "sampled_logits",
    "samples_contrast",
    "text_report",
    "to_hf_state_dict",
    "token_idf",
    "topic_chain",
    "two_stage_prompt",
]
