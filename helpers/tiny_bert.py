"""A small BERT with both heads of its pre-training, written out, and the one that is shipped with this repository.

Model: Devlin et al. 2019, arXiv:1810.04805. Article: Su Jianlin, https://kexue.fm/archives/8671 (10 Sep 2021).
The weights carry the names of `transformers.BertForPreTraining`, so either library reads the other's checkpoints.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

import torch
from safetensors.torch import load
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.inputs import checked_integer

EPS = 1e-12  # of every LayerNorm, as in BERT
SHIPPED = resources.files("helpers") / "pretrained"
WEIGHTS, TOKENIZER = "tiny_bert_nsp.safetensors", "tokenizer.json"

# Name here -> name in transformers; "#" is the number of the layer.
NAMES = {
    "words": "bert.embeddings.word_embeddings",
    "positions": "bert.embeddings.position_embeddings",
    "types": "bert.embeddings.token_type_embeddings",
    "embedding_norm": "bert.embeddings.LayerNorm",
    "layers.#.query": "bert.encoder.layer.#.attention.self.query",
    "layers.#.key": "bert.encoder.layer.#.attention.self.key",
    "layers.#.value": "bert.encoder.layer.#.attention.self.value",
    "layers.#.mix": "bert.encoder.layer.#.attention.output.dense",
    "layers.#.attention_norm": "bert.encoder.layer.#.attention.output.LayerNorm",
    "layers.#.up": "bert.encoder.layer.#.intermediate.dense",
    "layers.#.down": "bert.encoder.layer.#.output.dense",
    "layers.#.output_norm": "bert.encoder.layer.#.output.LayerNorm",
    "pooler": "bert.pooler.dense",
    "nsp_head": "cls.seq_relationship",
    "mlm_dense": "cls.predictions.transform.dense",
    "mlm_norm": "cls.predictions.transform.LayerNorm",
}
MLM_BIAS = "cls.predictions.bias"


@dataclass(frozen=True)
class TinyBertConfig:
    """Sizes of a `TinyBert`, under the names of `transformers.BertConfig`.

    Raises
    ------
    ValueError : a size that is no integer >= 1, heads that do not divide hidden_size.

    >>> TinyBertConfig(hidden_size=64).hidden_size
    64
    """

    vocab_size: int = 6000
    hidden_size: int = 128
    num_hidden_layers: int = 2
    num_attention_heads: int = 2
    intermediate_size: int = 512
    max_position_embeddings: int = 64

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            checked_integer(name, value, 1)
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"num_attention_heads must divide hidden_size, got {self}")


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each followed by x ← LayerNorm(x + branch(x))."""

    def __init__(self, config: TinyBertConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.heads = config.num_attention_heads
        self.query, self.key, self.value, self.mix = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.attention_norm, self.output_norm = (nn.LayerNorm(width, eps=EPS) for _ in range(2))

    def forward(self, x: Tensor, visible: Tensor, rows: slice = slice(None)) -> Tensor:
        """States [B, rows, H] of x [B, L, H]; visible [B, 1, 1, L] is True where a token may be looked at."""
        asking = x[:, rows]
        q, k, v = (
            layer(states).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, states in ((self.query, asking), (self.key, x), (self.value, x))
        )
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=visible)
        y = self.attention_norm(asking + self.mix(seen.transpose(1, 2).flatten(-2)))
        return self.output_norm(y + self.down(F.gelu(self.up(y))))


class TinyBert(nn.Module):
    """BERT without dropout: encoder, next-sentence head and masked-language head with tied embeddings.

    Parameters
    ----------
    config : its sizes.
    generator : of the random weights, which are N(0, 0.08²), biases 0; by default one with seed 0. At this width BERT's
        own 0.02 leaves next-sentence prediction on its plateau for long.

    Examples
    --------
    >>> model = TinyBert(TinyBertConfig(vocab_size=7, hidden_size=4, intermediate_size=8))
    >>> ids = torch.tensor([[2, 5, 3, 6, 3]])
    >>> h = model(ids, torch.tensor([[0, 0, 0, 1, 1]]), torch.ones_like(ids))
    >>> h.shape, model.nsp_logits(h).shape, model.mlm_logits(h).shape
    (torch.Size([1, 5, 4]), torch.Size([1, 2]), torch.Size([1, 5, 7]))
    """

    def __init__(self, config: TinyBertConfig | None = None, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config = config or TinyBertConfig()
        width = config.hidden_size
        self.words = nn.Embedding(config.vocab_size, width)
        self.positions = nn.Embedding(config.max_position_embeddings, width)
        self.types = nn.Embedding(2, width)
        self.embedding_norm = nn.LayerNorm(width, eps=EPS)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.num_hidden_layers))
        self.pooler, self.nsp_head = nn.Linear(width, width), nn.Linear(width, 2)
        self.mlm_dense, self.mlm_norm = nn.Linear(width, width), nn.LayerNorm(width, eps=EPS)
        self.mlm_bias = nn.Parameter(torch.zeros(config.vocab_size))
        generator = generator or torch.Generator().manual_seed(0)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.08, generator=generator)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Hidden states [B, L, H] of tokens [B, L], of the segment, 0 or 1, of each, and a mask that is 0 at padding.

        Raises
        ------
        ValueError : arguments of other or unequal shapes, L beyond config.max_position_embeddings.
        """
        return self._states(input_ids, token_type_ids, attention_mask, slice(None))

    def pair_logits(self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """nsp_logits(forward(…)) [B, 2], but the last layer computes the state of [CLS] alone: faster, same numbers."""
        return self.nsp_logits(self._states(input_ids, token_type_ids, attention_mask, slice(0, 1)))

    def embed(self, input_ids: Tensor, token_type_ids: Tensor) -> Tensor:
        """Input of the first layer [B, L, H]: LayerNorm(word + segment + position)."""
        x = self.words(input_ids) + self.types(token_type_ids) + self.positions.weight[: input_ids.shape[1]]
        return self.embedding_norm(x)

    def _states(self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor, last: slice) -> Tensor:
        """Hidden states, of the positions `last` only."""
        shape, limit = tuple(input_ids.shape), self.config.max_position_embeddings
        if len(shape) != 2 or not 1 <= shape[1] <= limit:
            raise ValueError(f"input_ids must have shape [B, 1 <= L <= {limit}], got {shape}")
        for name, value in {"token_type_ids": token_type_ids, "attention_mask": attention_mask}.items():
            if tuple(value.shape) != shape:
                raise ValueError(f"{name} must have the shape of input_ids, {shape}, got {tuple(value.shape)}")
        x, visible = self.embed(input_ids, token_type_ids), attention_mask.bool()[:, None, None, :]
        for number, layer in enumerate(self.layers, start=1):
            x = layer(x, visible, last if number == len(self.layers) else slice(None))
        return x

    def nsp_logits(self, h: Tensor) -> Tensor:
        """Logits [B, 2] of (IsNext, NotNext) from hidden states [B, L, H]: dense(tanh(dense(h of [CLS])))."""
        return self.nsp_head(torch.tanh(self.pooler(h[:, 0])))

    def mlm_logits(self, h: Tensor) -> Tensor:
        """Logits [..., V] of the token at each position, from hidden states [..., H]."""
        return F.linear(self.mlm_norm(F.gelu(self.mlm_dense(h))), self.words.weight, self.mlm_bias)


def to_hf_state_dict(model: TinyBert) -> dict[str, Tensor]:
    """The weights under the names of `transformers.BertForPreTraining`, the two tied ones twice.

    >>> sorted(to_hf_state_dict(TinyBert(TinyBertConfig(vocab_size=7, hidden_size=4))))[-1]
    'cls.seq_relationship.weight'
    """
    state = {_hf_name(name): tensor.detach() for name, tensor in model.state_dict().items()}
    return state | {
        "cls.predictions.decoder.weight": state["bert.embeddings.word_embeddings.weight"],
        "cls.predictions.decoder.bias": state[MLM_BIAS],
    }


def from_hf_state_dict(state: Mapping[str, Tensor], num_attention_heads: int) -> TinyBert:
    """A `TinyBert` in evaluation mode and float32 from such weights; all sizes but the heads are read from shapes.

    Raises
    ------
    ValueError : missing weights, which are named; weights of shapes that do not fit; heads that do not divide.

    >>> model = TinyBert(TinyBertConfig(vocab_size=7, hidden_size=4))
    >>> bool((from_hf_state_dict(to_hf_state_dict(model), 2).words.weight == model.words.weight).all())
    True
    """
    layers = 0
    while f"bert.encoder.layer.{layers}.output.dense.weight" in state:
        layers += 1
    sizes = {"num_hidden_layers": max(layers, 1), "num_attention_heads": num_attention_heads}
    for key, name in {
        "vocab_size": "bert.embeddings.word_embeddings.weight",
        "max_position_embeddings": "bert.embeddings.position_embeddings.weight",
        "intermediate_size": "bert.encoder.layer.0.intermediate.dense.weight",
        "hidden_size": "bert.pooler.dense.weight",
    }.items():
        if name in state:
            sizes[key] = state[name].shape[0]
    model = TinyBert(TinyBertConfig(**sizes))
    names = {name: _hf_name(name) for name in model.state_dict()}
    missing = [hf for hf in names.values() if hf not in state]
    if missing:
        raise ValueError(f"state must hold all weights of BertForPreTraining, {len(missing)} missing: {missing[:6]}")
    for name, own in model.state_dict().items():
        if state[names[name]].shape != own.shape:
            found = tuple(state[names[name]].shape)
            raise ValueError(f"{names[name]} must have shape {tuple(own.shape)}, got {found}")
    model.load_state_dict({name: state[hf].float() for name, hf in names.items()})
    return model.eval()


def load_tiny_bert(path: str | Path | None = None) -> tuple[TinyBert, Tokenizer]:
    """The shipped model in evaluation mode and its tokeniser, or those of another folder of the same layout.

    The tokeniser is lower-case WordPiece; encode(text, add_special_tokens=False).ids are a segment's bare tokens.

    Parameters
    ----------
    path : folder with config.json, tiny_bert_nsp.safetensors and tokenizer.json; None: the shipped one.

    Raises
    ------
    FileNotFoundError : a file is missing; it is named.
    ValueError : a file is not the one whose SHA-256 config.json states.

    >>> model, tokenizer = load_tiny_bert()
    >>> tokenizer.get_vocab_size() == model.config.vocab_size
    True
    """
    folder = SHIPPED if path is None else Path(path)
    stated = json.loads(_bytes(folder, "config.json"))
    found = {}
    for name, checksum in stated["sha256"].items():
        found[name] = _bytes(folder, name)
        if (actual := hashlib.sha256(found[name]).hexdigest()) != checksum:
            raise ValueError(f"{folder / name} must have the SHA-256 of config.json, {checksum}, got {actual}")
    model = from_hf_state_dict(load(found[WEIGHTS]), stated["model"]["num_attention_heads"])
    return model, Tokenizer.from_str(found[TOKENIZER].decode("utf-8"))


def _bytes(folder: Path, name: str) -> bytes:
    file = folder / name
    if not file.is_file():
        raise FileNotFoundError(f"no such file of a TinyBert: {file}")
    return file.read_bytes()


def _hf_name(name: str) -> str:
    """The name in transformers of a weight of `TinyBert`."""
    if name == "mlm_bias":
        return MLM_BIAS
    module, _, kind = name.rpartition(".")
    number = module.split(".")[1] if module.startswith("layers.") else ""
    return f"{NAMES[module.replace(number, '#') if number else module].replace('#', number)}.{kind}"
