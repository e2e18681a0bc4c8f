"""Scores of N texts with C prompts: the batches of nsp_scores beside a loop over pairs, and beside transformers.

    OMP_NUM_THREADS=1 python benchmarks/nsp_speed.py

Part 1: 100 held-out texts with 8 labels, medians of interleaved runs. "pair loop" tokenises and runs each pair alone,
at its own length; "pair loop, padded" pads it to 64 tokens; "one padded batch" pads all. All give the same scores.
Part 2: one text with 8 labels, what a live view waits for; and occlusion.
Part 3: the same weights in transformers' BertForNextSentencePrediction: largest difference of the logits, and the time.
Without transformers, part 3 is left out.
"""

import time

import numpy as np
import torch

from helpers import nsp
from helpers.nsp_documents import held_out, section_labels

try:
    from transformers import BertConfig, BertForNextSentencePrediction
    from transformers.utils import logging

    logging.set_verbosity_error()
except ImportError:
    BertForNextSentencePrediction = None

RUNS = 7


def pair_loop(model, tokenizer, texts: list[str], prompts: list[str], length: int | None = None) -> np.ndarray:
    """One pair at a time through the model, like a reader's first version."""
    scores = np.empty((len(texts), len(prompts)), np.float32)
    room = 61 - max(len(tokenizer.encode(prompt, add_special_tokens=False).ids) for prompt in prompts)
    with torch.inference_mode():
        for i, text in enumerate(texts):
            for j, prompt in enumerate(prompts):
                a = tokenizer.encode(prompt, add_special_tokens=False).ids
                b = tokenizer.encode(text, add_special_tokens=False).ids[:room]
                ids = [2, *a, 3, *b, 3]
                types = [0] * (len(a) + 2) + [1] * (len(b) + 1)
                fill = [0] * ((length or len(ids)) - len(ids))
                given = (torch.tensor([row + fill]) for row in (ids, types, [1] * len(ids)))
                z = model.nsp_logits(model(*given))[0]
                scores[i, j] = z[0] - z[1]
    return scores


def one_batch(model, tokenizer, texts: list[str], prompts: list[str]) -> np.ndarray:
    a, b = [prompt for _ in texts for prompt in prompts], [text for text in texts for _ in prompts]
    with torch.inference_mode():
        z = model.nsp_logits(model(**nsp.encode_pairs(tokenizer, a, b, truncate="b")))
    return (z[:, 0] - z[:, 1]).reshape(len(texts), -1).numpy()


def medians(calls: dict) -> dict[str, float]:
    """Median ms of each, interleaved, the first round left out."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(RUNS + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            taken[name].append(1e3 * (time.perf_counter() - start))
    return {name: float(np.median(each[1:])) for name, each in taken.items()}


def main() -> None:
    model, tokenizer = nsp.load_tiny_bert()
    labels = list(section_labels(8).values())
    texts = [" ".join(document["sentences"]) for document in held_out("test")][:320:3][:100]
    given = model, tokenizer, texts, labels
    calls = {
        "nsp_scores": lambda: nsp.nsp_scores(*given, too_long="cut"),
        "one padded batch": lambda: one_batch(*given),
        "pair loop": lambda: pair_loop(*given),
        "pair loop, padded": lambda: pair_loop(*given, length=64),
    }
    taken, reference = medians(calls), calls["nsp_scores"]()
    print(f"{len(texts)} texts x {len(labels)} labels, torch {torch.__version__}, {torch.get_num_threads()} thread(s)")
    for name, ms in taken.items():
        gap = np.abs(calls[name]() - reference).max()
        print(f"{name:>20} {ms:8.1f} ms  {ms / taken['nsp_scores']:5.2f} x  largest |difference| {gap:.1e}")
    sizes = {
        f"batches of {n}": lambda n=n: nsp.nsp_scores(*given, too_long="cut", batch_size=n) for n in (16, 32, 64, 256)
    }
    print("  ".join(f"{name}: {ms:.1f} ms" for name, ms in medians(sizes).items()))

    one = [max(texts, key=len)]
    live = {
        "1 text x 8 labels": lambda: nsp.nsp_scores(model, tokenizer, one, labels, too_long="cut"),
        "PET beside it": lambda: nsp.mlm_label_scores(model, tokenizer, one, labels, too_long="cut"),
        "occlusion": lambda: nsp.occlusion(model, tokenizer, one[0], labels[0]),
        "nsp_scores 40 x 8": lambda: nsp.nsp_scores(model, tokenizer, texts[:40], labels, too_long="cut"),
    }
    print("live: " + "  ".join(f"{name}: {ms:.1f} ms" for name, ms in medians(live).items()))

    if BertForNextSentencePrediction is None:
        return
    sizes = {name: getattr(model.config, name) for name in model.config.__dataclass_fields__}
    peer = BertForNextSentencePrediction(BertConfig(**sizes)).eval()
    state = nsp.to_hf_state_dict(model)
    peer.load_state_dict({key: state[key] for key in peer.state_dict()})
    a, b = [label for _ in texts for label in labels], [text for text in texts for _ in labels]
    batch = nsp.encode_pairs(tokenizer, a, b, truncate="b")

    def ours() -> torch.Tensor:
        with torch.inference_mode():
            return model.nsp_logits(model(**batch))

    def shortcut() -> torch.Tensor:
        with torch.inference_mode():
            return model.pair_logits(**batch)

    def theirs() -> torch.Tensor:
        with torch.inference_mode():
            return peer(**batch).logits

    print(f"transformers: largest |difference| of {len(a)} pairs: {(ours() - theirs()).abs().max():.1e}", end=", ")
    print(f"of the shortcut for [CLS]: {(shortcut() - theirs()).abs().max():.1e}")
    print(
        "  ".join(
            f"{name}: {ms:.1f} ms" for name, ms in medians({f.__name__: f for f in (ours, shortcut, theirs)}).items()
        )
    )


if __name__ == "__main__":
    main()
