"""Evaluate the small BERT of notebook 05 on held-out documents: helpers/stored/nsp_evaluation.json.

    python examples/debian_descriptions.py --out corpus.jsonl        # the documents; train, dev and test
    python examples/nsp_evaluation.py corpus.jsonl                   # the shipped weights, some ten minutes on one core
    python examples/nsp_evaluation.py corpus.jsonl --runs runs       # and the snapshots of examples/pretrain_nsp.py
    python examples/nsp_evaluation.py corpus.jsonl --quick --out /tmp/try.json

Texts are descriptions of test documents without their synopsis, at most 150 a section; labels are words for sections.
Accuracy is the mean recall over the classes. Intervals: bootstrap over documents, for one trained model. The unlabelled
texts for calibration are the shipped dev documents, sections unused. "hard" texts do not hold the stem of their label.
Rows name the weights they were made with; what the file holds for the same weights is not made again.
"""

import argparse
import copy
import functools
import hashlib
import time
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from helpers import nsp
from helpers.lab.stored import command_line, fill
from helpers.nsp_documents import held_out, read_corpus, section_labels
from helpers.nsp_tasks import cloze_items, sentence_pairs, synopsis_links

SETS = {"D4": 4, "D8": 8, "D12": 12}
ORDERS, CALIBRATIONS, PET_TEMPLATES = ("prefix", "suffix"), ("none", "mean", "empty"), nsp.TEMPLATES[:3]
VERBALIZER = {"electronics": "electronic"}  # PET needs labels of one token
SPACES = {"TF-IDF": None, "LSA": 128}  # dimensions, the best of 50, 100, 128, 200, 300 on dev documents
MODEL_FREE = ("TF-IDF", "LSA", "LSA minus mean", "majority", "few-shot")
CAP, DRAWS, BOOTSTRAP = 150, 10, 2000
MAIN = {"method": "NSP", "template": "{}", "order": "prefix"}  # fixed before these weights existed: the plainest prompt
PET = {"method": "PET", "template": "a {} program", "order": "prefix"}
BARE_PET = PET | {"template": "{}"}  # added after the first results: the same prompt as MAIN's, and PET's best
COMPARED = (
    (MAIN | {"calibration": "mean"}, PET | {"calibration": "mean"}),
    (MAIN | {"calibration": "none"}, PET | {"calibration": "none"}),
    (MAIN | {"calibration": "mean"}, BARE_PET | {"calibration": "mean"}),
    (MAIN | {"calibration": "none"}, BARE_PET | {"calibration": "none"}),
    (MAIN | {"calibration": "none"}, BARE_PET | {"calibration": "mean"}),
    (MAIN | {"calibration": "none"}, {"method": "LSA"}),
    (MAIN | {"calibration": "mean"}, {"method": "LSA"}),
    (MAIN | {"calibration": "mean"}, {"method": "LSA minus mean"}),
    (MAIN | {"calibration": "mean"}, {"method": "TF-IDF"}),
    (MAIN | {"calibration": "mean"}, {"method": "embedding", "calibration": "mean"}),
    (MAIN | {"calibration": "mean"}, {"method": "few-shot", "shots": 16}),
    (MAIN | {"calibration": "mean"}, MAIN | {"calibration": "none"}),
    (MAIN | {"calibration": "empty"}, MAIN | {"calibration": "none"}),
    (MAIN | {"calibration": "mean"}, MAIN | {"order": "suffix", "calibration": "mean"}),
    (MAIN | {"order": "suffix", "calibration": "mean"}, MAIN | {"order": "suffix", "calibration": "none"}),
    (MAIN | {"order": "suffix", "calibration": "empty"}, MAIN | {"order": "suffix", "calibration": "none"}),
    (PET | {"calibration": "mean"}, PET | {"calibration": "none"}),
    (BARE_PET | {"calibration": "mean"}, BARE_PET | {"calibration": "none"}),
)


def cells() -> list[dict]:
    """Settings of the rows on the finished model, in order."""
    rows = []
    for labels in SETS:
        here = {"section": "accuracy", "labels": labels}
        for method, templates in (("NSP", nsp.TEMPLATES), ("PET", PET_TEMPLATES)):
            for order in ORDERS:
                for template in templates:
                    given = here | {"method": method, "template": template, "order": order}
                    rows += [given | {"calibration": calibration} for calibration in CALIBRATIONS]
        rows += [here | {"method": "embedding", "calibration": calibration} for calibration in CALIBRATIONS[:2]]
        rows += [here | {"method": method} for method in MODEL_FREE[:4]]
        rows += [here | {"method": "few-shot", "shots": shots} for shots in (1, 4, 16, 32, None)]
    rows += [{"section": "difference", "labels": s, "of": a, "minus": b} for s in SETS for a, b in COMPARED]
    rows += [{"section": "scores", "template": t, "order": order} for t in nsp.TEMPLATES for order in ORDERS]
    rows += [{"section": "unlabelled texts", "labels": s, "texts": n} for s in SETS for n in (1, 4, 16, 64, 128)]
    rows += [{"section": "truncation", "labels": s, "tokens": n} for s in SETS for n in (4, 8, 16, 32)]
    rows += [{"section": "label length", "label": k, "name": name} for k, name in LONGER]
    pairs = [{"negatives": kind, "share": share} for kind in ("any", "same section") for share in (0.5, 0.2)]
    rows += [{"section": "pairs", "pairs": 2000} | pair for pair in pairs]
    rows += [{"section": "linking", "queries": 300, "candidates": kind} for kind in ("any", "same section")]
    return [*rows, {"section": "cloze", "items": 400}]


LONGER = [("game", "game"), ("game", "computer game"), ("game", "game for one or more players at a computer")]
LONGER += [("font", "font"), ("font", "outline font"), ("font", "font with the letters of one or more scripts")]


def checkpoints(runs: list[Path]) -> list[dict]:
    """Settings of a row per snapshot in folders of examples/pretrain_nsp.py; the last of a run is judged in full."""
    rows = []
    for run in runs:
        for folder in sorted(path.parent for path in run.glob("*/step-000000.safetensors")):
            objective, seed = folder.name.rsplit("-", 1)
            steps = sorted(int(path.stem[5:]) for path in folder.glob("step-*.safetensors"))
            for step in steps:
                row = {"section": "steps", "run": run.name, "objective": objective, "seed": int(seed), "step": step}
                rows.append(row | {"last": step == steps[-1]})
    return rows


class Evaluation:
    """The documents, a model, and its scores, each made once."""

    def __init__(self, corpus: Path, model: object, tokenizer: object, quick: bool) -> None:
        parts = read_corpus(corpus)
        self.sections = section_labels(12)
        self.labels, names = list(self.sections.values()), list(self.sections)
        kept = [d for s in names for d in [d for d in parts["test"] if d["section"] == s][: 8 if quick else CAP]]
        self.test, self.shipped = parts["test"], held_out("test")
        self.model, self.tokenizer = model, tokenizer
        self.texts, self.y = [text(d) for d in kept], np.array([names.index(d["section"]) for d in kept])
        self.dev = [text(d) for d in held_out("dev")][: 32 if quick else None]
        known = [d for part in ("train", "dev") for d in parts[part] if d["section"] in names]
        self.known, self.known_y = [text(d) for d in known], np.array([names.index(d["section"]) for d in known])
        whole = [f"{d['synopsis']}. {text(d)}" for d in parts["train"]]  # what the model was trained on
        self.background = whole[: 500 if quick else None]
        self.shown = 2 if quick else 20
        self.hard = ~nsp.label_in_text(self.texts, self.labels, self.y)

    def of(self, model: object, cap: int, labels: int) -> "Evaluation":
        """The same with another model, the first labels, and at most so many texts of each."""
        other = copy.copy(self)
        kept = np.concatenate([np.flatnonzero(self.y == c)[:cap] for c in range(labels)])
        other.model, other.labels, other.texts = model, self.labels[:labels], [self.texts[k] for k in kept]
        other.y, other.hard = self.y[kept], self.hard[kept]
        return other

    @functools.cached_property
    def spaces(self) -> dict:
        return {name: nsp.TextSpace(self.background, components) for name, components in SPACES.items()}

    @functools.cached_property
    def idf(self) -> np.ndarray:
        return nsp.token_idf(self.tokenizer, self.background, len(self.model.words.weight))

    @functools.cache  # noqa: B019, one object for the whole run
    def scores(self, method: str, template: str = "", order: str = "") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scores of the test texts and of the dev texts, [N, 12] and [M, 12], and of the empty text, [12]."""
        if method in SPACES:
            both = [self.spaces[method].label_scores(t, self.labels) for t in (self.texts, self.dev)]
            return *both, np.zeros(12)
        if method == "embedding":
            given = self.model, self.tokenizer
            both = [nsp.embedding_label_scores(*given, t, self.labels, self.idf) for t in (self.texts, self.dev)]
            return *both, np.zeros(12)
        return *(self.model_scores(t, method, template, order) for t in (self.texts, self.dev)), self.neutral(
            method, template, order
        )

    def model_scores(self, texts: list[str], method: str, template: str, order: str) -> np.ndarray:
        given = self.model, self.tokenizer, texts
        if method == "PET":
            return nsp.mlm_label_scores(
                *given, [VERBALIZER.get(c, c) for c in self.labels], template, order, too_long="cut"
            )
        return nsp.nsp_scores(*given, nsp.fill_template(template, self.labels), order, too_long="cut")

    def neutral(self, method: str, template: str, order: str) -> np.ndarray:
        if method == "PET":
            return self.model_scores(["."], method, template, order)[0]
        return nsp.content_free_bias(self.model, self.tokenizer, nsp.fill_template(template, self.labels), order)

    def correct(
        self, labels: str, method: str, template: str = "", order: str = "", calibration: str = "none", **shots
    ):
        """1.0 where the answer is right and 0.0 elsewhere, for the N texts of a label set; few-shot: [draws, N]."""
        n = SETS[labels]
        inside = self.y < n
        if method == "few-shot":
            return self.few_shot(n, **shots)
        if method == "majority":
            return (self.y[inside] == np.bincount(self.y[inside]).argmax()).astype(float)
        if method == "LSA minus mean":
            method, calibration = "LSA", "mean"
        test, dev, empty = (scores[..., :n] for scores in self.scores(method, template, order))
        bias = {"none": np.zeros(n), "mean": dev.mean(axis=0), "empty": empty}[calibration]
        return (nsp.classify(test[inside], bias) == self.y[inside]).astype(float)

    @functools.cache  # noqa: B019
    def few_shot(self, n: int, shots: int | None) -> np.ndarray:
        known, inside = np.flatnonzero(self.known_y < n), np.flatnonzero(self.y < n)
        given = self.spaces["TF-IDF"], [self.known[k] for k in known], self.known_y[known]
        texts = [self.texts[k] for k in inside]
        draws = range(DRAWS if shots else 1)
        return np.array([nsp.few_shot_predictions(*given, texts, shots, s) == self.y[inside] for s in draws]).astype(
            float
        )

    def row(self, settings: dict) -> dict:
        """One row: the settings and what came out."""
        start = time.perf_counter()
        make = {"accuracy": self.accuracy, "difference": self.difference, "scores": self.stored_scores}
        make |= {"unlabelled texts": self.unlabelled, "truncation": self.truncation, "label length": self.label_length}
        make |= {"pairs": self.pairs, "linking": self.linking, "cloze": self.cloze}
        given = {key: value for key, value in settings.items() if key not in ("section", "weights")}
        found = make[settings["section"]](**given)
        return {"settings": settings} | rounded(found) | {"seconds": round(time.perf_counter() - start, 2)}

    def accuracy(self, labels: str, **method: object) -> dict:
        y, hard = self.y[self.y < SETS[labels]], self.hard[self.y < SETS[labels]]
        draws = np.atleast_2d(self.correct(labels, **method))
        found = {"accuracy": nsp.balanced_accuracy(draws.mean(axis=0), y), "plain": draws.mean(), "n": len(y)}
        if len(draws) > 1:
            found["sd over draws"] = np.std([nsp.balanced_accuracy(draw, y) for draw in draws], ddof=1)
        right = draws.mean(axis=0)
        found |= {"ci": nsp.bootstrap_ci(right, y, BOOTSTRAP), "hard": nsp.balanced_accuracy(right[hard], y[hard])}
        return found | {"hard ci": nsp.bootstrap_ci(right[hard], y[hard], BOOTSTRAP), "hard n": int(hard.sum())}

    def difference(self, labels: str, of: dict, minus: dict) -> dict:
        y = self.y[self.y < SETS[labels]]
        less = [np.atleast_2d(self.correct(labels, **method)).mean(axis=0) for method in (of, minus)]
        gain = less[0] - less[1]
        return {"difference": nsp.balanced_accuracy(gain, y), "ci": nsp.bootstrap_ci(gain, y, BOOTSTRAP), "n": len(y)}

    def stored_scores(self, template: str, order: str) -> dict:
        """Scores of 20 shipped test documents of each of eight sections, for the pictures."""
        names = list(self.sections)[:8]
        chosen = [k for s in names for k in [k for k, d in enumerate(self.shipped) if d["section"] == s][: self.shown]]
        texts, prompts = [text(self.shipped[k]) for k in chosen], nsp.fill_template(template, self.labels[:8])
        given = nsp.nsp_scores(self.model, self.tokenizer, texts, prompts, order, too_long="cut")
        _, dev, empty = self.scores("NSP", template, order)
        return {
            "documents": chosen,
            "scores": given.round(2).tolist(),
            "mean": dev.mean(axis=0)[:8],
            "empty": empty[:8],
        }

    def unlabelled(self, labels: str, texts: int) -> dict:
        n = SETS[labels]
        test, dev, _ = self.scores("NSP", "{}", "prefix")
        inside, rng, found = self.y < n, np.random.default_rng(0), []
        for _ in range(20):
            bias = dev[rng.choice(len(dev), min(texts, len(dev)), replace=False), :n].mean(axis=0)
            found.append(nsp.balanced_accuracy(nsp.classify(test[inside, :n], bias) == self.y[inside], self.y[inside]))
        return {"accuracy": np.mean(found), "sd over draws": np.std(found, ddof=1)}

    @functools.cache  # noqa: B019
    def cut_scores(self, tokens: int) -> tuple[np.ndarray, np.ndarray]:
        prompts = nsp.fill_template("{}", self.labels)
        longest = max(len(self.tokenizer.encode(p, add_special_tokens=False).ids) for p in prompts)
        length = {"max_length": max(8, tokens + 3 + longest), "too_long": "cut"}
        return tuple(nsp.nsp_scores(self.model, self.tokenizer, t, prompts, **length) for t in (self.texts, self.dev))

    def truncation(self, labels: str, tokens: int) -> dict:
        n, inside = SETS[labels], self.y < SETS[labels]
        test, dev = (scores[:, :n] for scores in self.cut_scores(tokens))
        right = nsp.classify(test[inside], dev.mean(axis=0)) == self.y[inside]
        y = self.y[inside]
        return {"accuracy": nsp.balanced_accuracy(right, y), "ci": nsp.bootstrap_ci(right, y, BOOTSTRAP)}

    def label_length(self, label: str, name: str) -> dict:
        """One label of D4 made longer: how many texts it gets, and the accuracy."""
        labels, inside = self.labels[:4], self.y < 4
        y, k = self.y[inside], labels.index(label)
        longer = [name if each == label else each for each in labels]
        texts = [self.texts[j] for j in np.flatnonzero(inside)]
        test, dev = (nsp.nsp_scores(self.model, self.tokenizer, t, longer, too_long="cut") for t in (texts, self.dev))
        found = {"true share": np.mean(y == k)}
        for calibration, bias in (("none", None), ("mean", dev.mean(axis=0))):
            given = nsp.classify(test, bias)
            found |= {f"share, {calibration}": np.mean(given == k)}
            found |= {f"accuracy, {calibration}": nsp.balanced_accuracy(given == y, y)}
        return found

    def pairs(self, pairs: int, negatives: str, share: float) -> dict:
        """Consecutive or not: threshold 0, the known share, a threshold of other pairs, batches."""
        rng = np.random.default_rng(0)
        test, dev = (sentence_pairs(self.test, n, rng, share, negatives != "any") for n in (pairs, 300))
        s, s_dev = (nsp.pair_scores(self.model, self.tokenizer, p.a, p.b) for p in (test, dev))
        y, shares = test.follows, [1 - share, share]
        cut = nsp.quantile_thresholds(s_dev, shares)
        found = {"auc": auc(s, y), "threshold 0": np.mean((s > 0) == y)}
        found |= {"known share": np.mean(nsp.samples_contrast(s, shares) == y)}
        found |= {"dev threshold": np.mean(nsp.apply_thresholds(s, cut) == y)}
        found |= {f"batches of {n}": np.mean(nsp.batched_samples_contrast(s, shares, n) == y) for n in (2, 8, 64)}
        right = {"0": (s > 0) == y, "share": nsp.samples_contrast(s, shares) == y}
        gain = right["share"].astype(float) - right["0"]
        found |= {"gain": gain.mean(), "gain ci": nsp.bootstrap_ci(gain, None, BOOTSTRAP)}
        kept = slice(0, 400)  # for the picture
        return found | {"scores": s[kept].round(2).tolist(), "follows": y[kept].tolist()}

    def linking(self, queries: int, candidates: str) -> dict:
        links = synopsis_links(self.test, queries, np.random.default_rng(0), 8, candidates != "any")
        a, b = [q for q in links.queries for _ in range(8)], [c for found in links.candidates for c in found]
        s = {"NSP": nsp.pair_scores(self.model, self.tokenizer, a, b).reshape(-1, 8)}
        for name, space in self.spaces.items():
            s[name] = np.array(
                [space.label_scores([q], c)[0] for q, c in zip(links.queries, links.candidates, strict=True)]
            )
        s["embedding"] = np.array([
            nsp.embedding_label_scores(self.model, self.tokenizer, [q], c, self.idf)[0]
            for q, c in zip(links.queries, links.candidates, strict=True)
        ])  # fmt: skip
        right = {name: nsp.classify(found) == links.answer for name, found in s.items()}
        found = {name: {"accuracy": r.mean(), "ci": nsp.bootstrap_ci(r, None, BOOTSTRAP)} for name, r in right.items()}
        gain = right["NSP"].astype(float) - right["TF-IDF"]  # the better of the two baselines, query by query
        return found | {"NSP - TF-IDF": {"difference": gain.mean(), "ci": nsp.bootstrap_ci(gain, None, BOOTSTRAP)}}

    def cloze(self, items: int) -> dict:
        """The missing word, given the sentence before; NSP ranks the filled sentences, or the word against the rest."""
        given, right = (self.model, self.tokenizer), {"MLM": [], "NSP, filled in": [], "NSP, word first": []}
        for item in cloze_items(self.test, self.tokenizer, items, np.random.default_rng(0)):
            filled = [item.sentence.replace("{}", word) for word in item.words]
            rest = item.sentence.replace("{}", " ")
            found = {
                "MLM": nsp.mlm_label_scores(*given, [item.before], item.words, item.sentence, "suffix", too_long="cut")[
                    0
                ],
                "NSP, filled in": nsp.pair_scores(*given, [item.before] * len(filled), filled),
                "NSP, word first": nsp.nsp_scores(*given, [rest], item.words, too_long="cut")[0],
            }
            for name, s in found.items():
                right[name].append(float(item.words[s.argmax()] == item.words[item.answer]))
        return {name: {"accuracy": np.mean(r), "ci": nsp.bootstrap_ci(r, None, BOOTSTRAP)} for name, r in right.items()}

    def snapshot(self, settings: dict) -> dict:
        """Zero-shot accuracies and pair scores of one snapshot; the last of a run in full."""
        start, found = time.perf_counter(), {}
        for labels in SETS if settings["last"] else ["D8"]:
            found[labels] = {c: self.accuracy(labels, **MAIN, calibration=c)["accuracy"] for c in ("none", "mean")}
        pairs = sentence_pairs(self.test, 400, np.random.default_rng(0))
        s = nsp.pair_scores(self.model, self.tokenizer, pairs.a, pairs.b)
        found |= {"pair auc": auc(s, pairs.follows), "pair accuracy": np.mean((s > 0) == pairs.follows)}
        if settings["last"]:
            both = {
                "NSP, suffix": MAIN | {"order": "suffix"},
                "PET": PET,
                "PET {}": BARE_PET,
                "embedding": {"method": "embedding"},
            }
            for name, method in both.items():
                found[name] = {s: self.accuracy(s, **method, calibration="mean")["accuracy"] for s in SETS}
            found["linking"] = self.linking(200, "any")["NSP"]["accuracy"]
        return {"settings": settings} | rounded(found) | {"seconds": round(time.perf_counter() - start, 2)}


def text(document: dict) -> str:
    return " ".join(document["sentences"])


def auc(scores: np.ndarray, y: np.ndarray) -> float:
    """Area under the ROC curve."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(y, scores))


def rounded(value: object) -> object:
    """Numbers of four decimals, arrays as lists."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [rounded(each) for each in value]
    if isinstance(value, int | np.integer):
        return int(value)
    return round(float(value), 4)


def quick_cells() -> list[dict]:
    """The first row of every kind and method."""
    kinds = {}
    for row in cells():
        kinds.setdefault((row["section"], row.get("method")), row)
    small = {"pairs": 40, "queries": 8, "items": 8}
    return [row | {key: n for key, n in small.items() if key in row} for row in kinds.values()]


def fingerprint(model: object) -> str:
    """The first digits of the SHA-256 of the weights."""
    state = nsp.to_hf_state_dict(model)
    return hashlib.sha256(b"".join(state[name].numpy().tobytes() for name in sorted(state))).hexdigest()[:12]


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--runs", type=Path, action="append", default=[], help="of examples/pretrain_nsp.py")
    parser.add_argument("--weights", type=Path, help="another snapshot than the shipped weights")
    options, rest = parser.parse_known_args(given)
    out, quick = command_line("nsp_evaluation", __doc__, rest)
    model, tokenizer = nsp.load_tiny_bert()
    heads = model.config.num_attention_heads

    def snapshot(path: Path) -> object:
        return nsp.from_hf_state_dict(load_file(path), heads)

    model = snapshot(options.weights) if options.weights else model
    evaluation = Evaluation(options.corpus, model, tokenizer, quick)

    def make(settings: dict) -> dict:
        if settings["section"] != "steps":
            return evaluation.row(settings)
        folder = (
            next(r for r in options.runs if r.name == settings["run"]) / f"{settings['objective']}-{settings['seed']}"
        )
        one = snapshot(folder / f"step-{settings['step']:06d}.safetensors")
        return evaluation.of(one, *((100, 12) if settings["last"] else (40, 8))).snapshot(settings)

    common = {
        "data": "descriptions of Debian packages, held out by source package; at most 150 test documents a section",
        "labels": evaluation.labels,
        "texts": {s: int((evaluation.y < n).sum()) for s, n in SETS.items()},
        "dev texts": len(evaluation.dev),
        "verbalizer of PET": VERBALIZER,
        "neutral text": {"NSP": "", "PET": "."},
        "bootstrap": BOOTSTRAP,
        "draws of few labelled texts": DRAWS,
    }
    mark = {"weights": fingerprint(model)}
    wanted = [row if row.get("method") in MODEL_FREE else row | mark for row in (quick_cells() if quick else cells())]
    fill(out, [*wanted, *checkpoints(options.runs)], make, common)


if __name__ == "__main__":
    main()
