"""A TinyBert with random weights and a tokenizer of few words, for tests that are not about what was learnt."""

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from helpers.tiny_bert import TinyBert, TinyBertConfig

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "game", "font", "mail", "a", "program", "kill", "all", "alien"]
WORDS += ["read", "type", "the", "##s", "##ly", "fast", ".", "##er"]
CONFIG = TinyBertConfig(
    vocab_size=len(WORDS),
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    max_position_embeddings=24,
)


def small_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece({word: k for k, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def small_model(std: float = 0.5) -> TinyBert:
    """Weights large enough that each token and its place show in the scores."""
    generator = torch.Generator().manual_seed(0)
    model = TinyBert(CONFIG, generator).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, std, generator=generator)
    return model
