"""Any BERT of transformers that has an NSP head, under the methods that `helpers.nsp_scoring` uses.

transformers is no dependency of this project: it is imported by `load_nsp_model` alone.
"""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

HEAD = ("cls.seq_relationship.", "bert.pooler.")


class TransformersBert(nn.Module):
    """A `transformers.BertForPreTraining` with the methods of `helpers.tiny_bert.TinyBert`.

    Parameters
    ----------
    model : transformers.BertForPreTraining
    has_mlm : whether its masked-language head was trained; `mlm_logits` refuses otherwise.
    """

    def __init__(self, model: Any, has_mlm: bool = True) -> None:
        super().__init__()
        self.model, self.has_mlm = model, has_mlm
        self.eval()

    @property
    def config(self) -> Any:
        """transformers.BertConfig; `max_position_embeddings` is the longest input."""
        return self.model.config

    @property
    def words(self) -> nn.Embedding:
        """Input embeddings of the tokens, weight [V, H]."""
        return self.model.get_input_embeddings()

    def forward(self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Last hidden states [B, L, H]."""
        given = {"token_type_ids": token_type_ids, "attention_mask": attention_mask}
        return self.model.bert(input_ids, **given).last_hidden_state

    def nsp_logits(self, h: Tensor) -> Tensor:
        """Logits [B, 2]: column 0 is IsNext, column 1 NotNext."""
        return self.model.cls.seq_relationship(self.model.bert.pooler(h))

    def pair_logits(self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """`nsp_logits` of `forward`."""
        return self.nsp_logits(self(input_ids, token_type_ids, attention_mask))

    def mlm_logits(self, h: Tensor) -> Tensor:
        """Logits over the vocabulary [..., V].

        Raises
        ------
        ValueError : the checkpoint had no masked-language head.
        """
        if not self.has_mlm:
            raise ValueError("model must have a masked-language head, the checkpoint holds no cls.predictions.*")
        return self.model.cls.predictions(h)


def load_nsp_model(name_or_path: str | Path, local_files_only: bool = False) -> tuple[TransformersBert, Any]:
    """A BERT with an NSP head from a folder or from the hub, and its tokenizer.

    transformers fills missing weights with random ones and only logs it: here a missing NSP head is an error.

    Parameters
    ----------
    name_or_path : a folder written by save_pretrained, or the name of a model on the hub, such as "bert-base-uncased".
    local_files_only : never ask the hub.

    Raises
    ------
    ImportError : transformers is not installed.
    FileNotFoundError : the folder does not exist.
    ValueError : no BERT, or a checkpoint without NSP head or pooler (RoBERTa, DistilBERT, many fine-tuned models).
    OSError : of transformers, when the hub does not have the model or does not answer.

    >>> load_nsp_model("./no/such/folder")
    Traceback (most recent call last):
    FileNotFoundError: name_or_path must be an existing folder or the name of a model on the hub, got './no/such/folder'
    """
    try:
        from transformers import AutoConfig, AutoTokenizer, BertForPreTraining
    except ImportError as error:
        raise ImportError("load_nsp_model needs transformers: pip install transformers") from error
    name = str(name_or_path)
    looks_like_a_path = isinstance(name_or_path, Path) or name.startswith((".", "/", "~", "\\")) or name.count("/") > 1
    if looks_like_a_path and not Path(name).expanduser().is_dir():
        rule = "an existing folder or the name of a model on the hub"
        raise FileNotFoundError(f"name_or_path must be {rule}, got {name!r}")
    name = str(Path(name).expanduser()) if looks_like_a_path else name
    kind = AutoConfig.from_pretrained(name, local_files_only=local_files_only).model_type
    if kind != "bert":
        raise ValueError(f"name_or_path must be a BERT, got {name!r} of type {kind!r}: it has no NSP head")
    model, info = BertForPreTraining.from_pretrained(name, local_files_only=local_files_only, output_loading_info=True)
    missing = sorted(info["missing_keys"])
    if head := [key for key in missing if key.startswith(HEAD)]:
        raise ValueError(f"name_or_path must hold an NSP head, {name!r} lacks {', '.join(head)}")
    has_mlm = not any(key.startswith("cls.predictions.transform") for key in missing)
    if body := [key for key in missing if not key.startswith("cls.predictions.")]:
        raise ValueError(f"name_or_path must hold all weights of its encoder, {name!r} lacks {', '.join(body)}")
    tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=local_files_only)
    return TransformersBert(model, has_mlm), tokenizer
