"""Pre-train the small BERT of notebook 05 on one core, and the control objectives of the same budget.

    python examples/debian_descriptions.py --out corpus.jsonl                # the corpus; its licence is stated there
    python examples/pretrain_nsp.py corpus.jsonl --runs runs                 # the shipped run
    python examples/pretrain_nsp.py corpus.jsonl --runs runs --objective sop --steps 1000 --seed 1
    python examples/pretrain_nsp.py corpus.jsonl --runs runs --quick         # a minute, to try it out

Corpus: descriptions of Debian's packages, one document per source package, split into train, dev and test by source
(examples/debian_descriptions.py); of mixed free licences. Tokeniser: lower-case WordPiece of 6,000 tokens, trained on
the train documents. Model: BERT with 2 layers of width 128, 1.2 million parameters. Time: 0.15 s a step on one core.

A run writes runs/<objective>-<seed>/: the state every few hundred steps, from which the same command goes on after a
break with the same weights at the end; snapshots of the weights; log.json with the curve, the settings and the time.
Batches depend on the seed and the number of the step alone. A tokeniser that is trained again may differ in a token or
two, where counts tie: for the shipped one, put helpers/pretrained/tokenizer.json into runs/ first.
"""

import argparse
import hashlib
import json
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from tqdm import tqdm

from helpers import nsp_pretraining as pre
from helpers.nsp_documents import read_corpus
from helpers.tiny_bert import TinyBert, TinyBertConfig, to_hf_state_dict

SETTINGS = {
    "objective": "nsp", "seed": 0, "steps": 12000, "batch": 64, "max_length": 64, "lr": 1e-3, "warmup": 200,
    "betas": [0.9, 0.98], "weight_decay": 0.01, "clip": 1.0, "mask_rate": 0.15,
}  # fmt: skip
QUICK = {"steps": 60, "batch": 16, "warmup": 10}
POOL = 16  # batches that are drawn together and sorted by length, so that each has little padding
SAVE = 200  # steps between two saved states
LOG = 50  # steps whose training losses are averaged
SNAPSHOTS = (0, 100, 200, 300, 400, 500, 600, 800, 1000, 1500, 2000, 3000, 4000, 6000, 8000, 10000, 12000, 16000, 20000)
VALIDATION = 1000  # pairs of dev documents
SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def train_tokenizer(texts: list[str], vocab_size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=SPECIAL_TOKENS, show_progress=False, min_frequency=2
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )  # fmt: skip
    return tokenizer


def encoded(tokenizer: Tokenizer, documents: list[dict]) -> list[list[list[int]]]:
    """Token numbers of the synopsis and of each sentence; the longest sentences lose their end."""
    lengths = [len(document["sentences"]) + 1 for document in documents]
    texts = [text for document in documents for text in (document["synopsis"], *document["sentences"])]
    ids = iter(tokenizer.encode_batch_fast(texts, add_special_tokens=False))
    return [[next(ids).ids[:64] for _ in range(length)] for length in lengths]


def learning_rate(step: int, settings: dict) -> float:
    """Linear warm-up, then a linear decay to 0 at the end."""
    warmup, steps = settings["warmup"], settings["steps"]
    return settings["lr"] * min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))


def batches(sampler: pre.PairSampler, pool: int, settings: dict, vocab_size: int) -> list[pre.Batch]:
    """The batches of steps [pool * POOL, (pool + 1) * POOL)."""
    rng = np.random.default_rng([settings["seed"], pool])
    size = settings["batch"]
    pairs = sorted(sampler.draw(POOL * size, rng), key=lambda pair: len(pair.a) + len(pair.b))
    starts = rng.permutation(POOL) * size
    return [
        pre.masked(pre.collate(pairs[start : start + size]), rng, vocab_size, settings["mask_rate"]) for start in starts
    ]


@torch.no_grad()
def validate(model: TinyBert, pairs: list[pre.Pair], random_pairs: list[pre.Pair]) -> dict:
    """Accuracy of pairs of the run's own task and of NSP's, and the masked language model's loss on a fixed mask."""
    rng, losses, counts = np.random.default_rng(0), [], []
    ordered = sorted(pairs, key=lambda pair: len(pair.a) + len(pair.b))
    for start in range(0, len(ordered), 100):
        batch = pre.masked(pre.collate(ordered[start : start + 100]), rng, model.config.vocab_size)
        counts.append(int((batch.targets != pre.IGNORED).sum()))
        losses.append(float(pre.pretraining_losses(model, batch)[1]))
    return {
        "pair_accuracy": round(pre.pair_accuracy(model, pairs), 4),
        "random_pair_accuracy": round(pre.pair_accuracy(model, random_pairs), 4),
        "mlm_loss": round(float(np.average(losses, weights=np.maximum(counts, 1))), 4),
    }


def start_warm(model: TinyBert, documents: list, seed: int) -> None:
    sizes = model.config.vocab_size, model.config.hidden_size
    pre.warm_start(model, pre.lsa_embeddings(documents, *sizes, seed))


def make_optimizer(model: TinyBert, settings: dict) -> torch.optim.Optimizer:
    betas, decay = tuple(settings["betas"]), settings["weight_decay"]
    return torch.optim.AdamW(model.parameters(), settings["lr"], betas, weight_decay=decay, fused=True)


def step(model: TinyBert, optimizer: torch.optim.Optimizer, batch: pre.Batch, number: int, settings: dict) -> tuple:
    """One step of training; the losses before it, of the pairs and of the masked tokens."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(number, settings)
    pair, token = pre.pretraining_losses(model, batch)
    optimizer.zero_grad()
    (pair + token).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), settings["clip"], error_if_nonfinite=True)
    optimizer.step()
    return pair.item(), token.item()


class Run:
    """A run in a folder: what it was when it last saved itself, or new.

    Parameters
    ----------
    folder : of its files.
    corpus : the documents of the parts train and dev.
    tokenizer, settings, config : settings are those of `SETTINGS`, and what else is to be kept with them.
    """

    def __init__(
        self, folder: Path, corpus: dict[str, list[dict]], tokenizer: Tokenizer, settings: dict, config: TinyBertConfig
    ) -> None:
        self.folder, self.settings, self.done = folder, settings, 0
        self.clocks = time.process_time(), time.time()
        folder.mkdir(parents=True, exist_ok=True)
        documents = {part: encoded(tokenizer, corpus[part]) for part in ("train", "dev")}
        sections = {part: [document["section"] for document in corpus[part]] for part in ("train", "dev")}
        make = lambda part, objective: pre.PairSampler(  # noqa: E731
            documents[part], objective, sections[part], settings["max_length"]
        )
        self.sampler = make("train", settings["objective"])
        self.held_out = [
            make("dev", objective).draw(VALIDATION, np.random.default_rng(1))
            for objective in (settings["objective"], "nsp")
        ]
        self.log = {"settings": settings, "curve": [], "seconds": 0.0, "wall_seconds": 0.0}
        self.model = TinyBert(config, torch.Generator().manual_seed(settings["seed"]))
        self.optimizer = make_optimizer(self.model, settings)
        self.losses: list[tuple[float, float]] = []
        if (folder / "state.pt").exists():
            self._load()
        else:
            start_warm(self.model, documents["train"], settings["seed"])
            self._record()

    def train(self, stop: int | None = None) -> dict:
        """On to step `stop`, or to the end; the log."""
        total = self.settings["steps"]
        stop = total if stop is None else stop
        pool: list[pre.Batch] = []
        with tqdm(total=total, initial=self.done, desc=self.folder.name, unit="step", mininterval=5) as bar:
            while self.done < stop:
                if not pool:
                    number, used = divmod(self.done, POOL)
                    size = self.model.config.vocab_size
                    pool = batches(self.sampler, number, self.settings, size)[used:][::-1]
                self.losses.append(step(self.model, self.optimizer, pool.pop(), self.done, self.settings))
                self.done += 1
                bar.update()
                if self.done in SNAPSHOTS or self.done == total:
                    self._record()
                    bar.set_postfix(pairs=self.log["curve"][-1]["pair_accuracy"])
                if self.done % SAVE == 0 or self.done == stop:
                    self._save()
        return self.log

    def _record(self) -> None:
        """One more point of the curve, and a snapshot of the weights."""
        point = {"step": self.done} | validate(self.model, *self.held_out)
        if recent := self.losses[-LOG:]:
            point |= dict(
                zip(("train_pair_loss", "train_mlm_loss"), np.mean(recent, axis=0).round(4).tolist(), strict=True)
            )
        self.log["curve"].append(point)
        save_file(shipped_weights(self.model), self.folder / f"step-{self.done:06d}.safetensors")

    def _save(self) -> None:
        now = time.process_time(), time.time()
        for name, before, after in zip(("seconds", "wall_seconds"), self.clocks, now, strict=True):
            self.log[name] = round(self.log[name] + after - before, 1)
        self.clocks = now
        text = json.dumps(self.log, indent=1)
        (self.folder / "log.json").write_text(text + "\n", encoding="utf-8")
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        part = self.folder / "state.part"
        torch.save(state | {"step": self.done, "log": text}, part)
        part.replace(self.folder / "state.pt")

    def _load(self) -> None:
        state = torch.load(self.folder / "state.pt", weights_only=True)
        self.log, self.done = json.loads(state["log"]), state["step"]
        if self.log["settings"] != self.settings:
            raise SystemExit(f"{self.folder} holds a run with other settings: {self.log['settings']}")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


def shipped_weights(model: TinyBert) -> dict[str, torch.Tensor]:
    """In half precision, under the names of transformers, the tied ones once."""
    return {name: value.half() for name, value in to_hf_state_dict(model).items() if "decoder" not in name}


def load_tokenizer(file: Path, corpus: dict[str, list[dict]], vocab_size: int) -> Tokenizer:
    """That of the file, which is trained first where there is none."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        texts = [" ".join([document["synopsis"], *document["sentences"]]) for document in corpus["train"]]
        train_tokenizer(texts, vocab_size).save(str(file))
    tokenizer = Tokenizer.from_file(str(file))
    if tokenizer.get_vocab_size() != vocab_size:
        raise SystemExit(f"{file} has {tokenizer.get_vocab_size()} tokens, not {vocab_size}: use another --runs")
    return tokenizer


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, help="what examples/debian_descriptions.py wrote")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs and the tokeniser")
    parser.add_argument("--objective", choices=pre.OBJECTIVES, default="nsp")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="instead of 12,000")
    parser.add_argument("--quick", action="store_true", help="a few steps of a smaller model")
    options = parser.parse_args(given)
    settings = SETTINGS | {"objective": options.objective, "seed": options.seed}
    config = TinyBertConfig()
    if options.quick:
        settings, config = settings | QUICK, TinyBertConfig(500, 32, 1, 2, 64, settings["max_length"])
    settings |= {"steps": options.steps} if options.steps else {}
    settings |= {"corpus": hashlib.sha256(options.corpus.read_bytes()).hexdigest()}
    corpus = read_corpus(options.corpus)
    tokenizer = load_tokenizer(options.runs / "tokenizer.json", corpus, config.vocab_size)
    log = Run(options.runs / f"{options.objective}-{options.seed}", corpus, tokenizer, settings, config).train()
    end = log["curve"][-1]
    print(f"{end['step']} steps in {log['seconds']:.0f} CPU s, {log['wall_seconds']:.0f} s of wall time: pairs "
          f"{end['pair_accuracy']:.3f}, masked tokens {end['mlm_loss']:.3f} nats")  # fmt: skip


if __name__ == "__main__":
    main()
