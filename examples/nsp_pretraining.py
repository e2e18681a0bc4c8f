"""All pre-training runs of notebook 05, their table helpers/stored/nsp_pretraining.json, and the model that is shipped.

    python examples/debian_descriptions.py --out corpus.jsonl
    OMP_NUM_THREADS=1 python examples/nsp_pretraining.py corpus.jsonl --runs runs     # an hour on one core
    python examples/nsp_pretraining.py corpus.jsonl --runs runs --ship helpers/pretrained

The main run is the one of examples/pretrain_nsp.py; the ablation compares three objectives on the same budget, three
seeds each. Runs go on where they were, and rows that the table already holds are not made again.
"""

import argparse
import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pretrain_nsp as one
import torch
from tokenizers import Tokenizer

from helpers import nsp_pretraining as pre
from helpers.lab.stored import fill
from helpers.nsp_documents import held_out, read_corpus
from helpers.tiny_bert import SHIPPED, TOKENIZER, WEIGHTS, TinyBert, TinyBertConfig

STORED = Path(__file__).parents[1] / "helpers/stored/nsp_pretraining.json"
ARCHIVE = "Debian 12 (bookworm), component main, amd64: English descriptions, one document per source package"
ABLATION = {"section": "ablation", "steps": 1000}
SEEDS = 3
FIRST_STEPS = 4  # whose losses, on the shipped documents, tell whether the table is still what the code does


def cells() -> list[dict]:
    """Settings of every run."""
    rows = [{"section": "main"} | one.SETTINGS]
    for seed in range(SEEDS):
        rows += [one.SETTINGS | ABLATION | {"objective": objective, "seed": seed} for objective in pre.OBJECTIVES]
    return rows


def first_losses() -> list[list[float]]:
    """Losses (pairs, masked tokens) of a few steps of a small batch, trained on the shipped dev documents."""
    settings = one.SETTINGS | {"batch": 4}
    tokenizer = Tokenizer.from_str((SHIPPED / TOKENIZER).read_text(encoding="utf-8"))
    documents = one.encoded(tokenizer, held_out("dev"))
    model = TinyBert(TinyBertConfig(), torch.Generator().manual_seed(0))
    one.start_warm(model, documents, settings["seed"])
    optimizer = one.make_optimizer(model, settings)
    drawn = one.batches(pre.PairSampler(documents), 0, settings, model.config.vocab_size)[:FIRST_STEPS]
    losses = [one.step(model, optimizer, batch, number, settings) for number, batch in enumerate(drawn)]
    return [[round(value, 5) for value in pair] for pair in losses]


def corpus_facts(corpus: dict[str, list[dict]], file: Path, tokenizer: Tokenizer) -> dict:
    documents = [document for part in corpus.values() for document in part]
    tokens = [token for document in one.encoded(tokenizer, corpus["train"]) for text in document for token in text]
    return {
        "archive": ARCHIVE,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "documents": {part: len(found) for part, found in corpus.items()},
        "sentences": sum(len(document["sentences"]) for document in documents),
        "megabytes": round(sum(len(" ".join([d["synopsis"], *d["sentences"]]).encode()) for d in documents) / 1e6, 2),
        "train_tokens": len(tokens),
        "unknown_tokens": round(tokens.count(pre.UNK) / len(tokens), 5),
    }


def ship(run: Path, tokenizer: Path, folder: Path, facts: dict) -> None:
    """Write weights, tokeniser and config.json, with their checksums, of the last snapshot of a run."""
    last = max(run.glob("step-*.safetensors"))
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(last, folder / WEIGHTS)
    shutil.copyfile(tokenizer, folder / TOKENIZER)
    log = json.loads((run / "log.json").read_text(encoding="utf-8"))
    config = {
        "model": asdict(TinyBertConfig()),
        "sha256": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (WEIGHTS, TOKENIZER)},
        "training": log["settings"] | {"seconds": log["seconds"]} | log["curve"][-1],
        "corpus": facts,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, help="what examples/debian_descriptions.py wrote")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs and the tokeniser")
    parser.add_argument("--out", type=Path, default=STORED, help="the table")
    parser.add_argument(
        "--ship", type=Path, help="only write the model of the main run, as far as it is, to this folder"
    )
    options = parser.parse_args(given)
    corpus, config = read_corpus(options.corpus), TinyBertConfig()
    tokenizer = one.load_tokenizer(options.runs / "tokenizer.json", corpus, config.vocab_size)
    facts = corpus_facts(corpus, options.corpus, tokenizer)
    if options.ship:
        ship(options.runs / "main/nsp-0", options.runs / "tokenizer.json", options.ship, facts)
        return

    def make(settings: dict) -> dict:
        folder = options.runs / settings["section"] / f"{settings['objective']}-{settings['seed']}"
        own = {name: value for name, value in settings.items() if name != "section"} | {"corpus": facts["sha256"]}
        log = one.Run(folder, corpus, tokenizer, own, config).train()
        return {"settings": settings} | {name: log[name] for name in ("curve", "seconds", "wall_seconds")}

    common = {
        "corpus": facts,
        "model": asdict(config) | {"parameters": sum(weight.numel() for weight in TinyBert(config).parameters())},
        "validation_pairs": one.VALIDATION,
        "threads": torch.get_num_threads(),
        "first_losses": first_losses(),
    }
    fill(options.out, cells(), make, common)


if __name__ == "__main__":
    main()
