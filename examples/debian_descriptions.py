"""Make the corpus of notebook 05 from the package descriptions of a Debian or Ubuntu archive, on any such machine.

    python examples/debian_descriptions.py --out corpus.jsonl                  # under a minute, 15 MB from the mirror
    python examples/debian_descriptions.py --out corpus.jsonl --sample held_out.json

apt downloads the English descriptions of the release that the machine is set to, into a private folder: nothing of the
machine's own apt state changes, and no administrator is needed. Each source package gives one document: the one-line
synopsis and the sentences of its longest description.

Licence: a description is part of its package's debian/control and stands under the licence of that package's
packaging, free by the Debian Free Software Guidelines, but not the same for all (GPL, MIT, …). No one licence covers
the corpus, so it is not shipped; the sample is short, and each of its texts names its package.
"""

import argparse
import hashlib
import json
import re
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

# The word that stands for a section of the archive; the first 4 and the first 8 are the smaller label sets.
LABELS = {
    "games": "game", "sound": "music", "fonts": "font", "science": "science",
    "mail": "mail", "math": "mathematics", "editors": "editor", "web": "web",
    "graphics": "image", "database": "database", "video": "video", "electronics": "electronics",
}  # fmt: skip
SHARED = 3  # a sentence in more documents than this is boilerplate
SAMPLE = {"test": 40, "dev": 16}  # documents of a section in the sample
SAMPLE_LETTERS = 400  # after which a sampled text ends, at the end of a sentence
LICENCE = (
    "Descriptions of Debian packages. Each stands under the licence of its package's packaging, free by the Debian "
    "Free Software Guidelines: see /usr/share/doc/<package>/copyright or https://sources.debian.org/copyright/. "
    "The texts are cut to their first sentences; `source` and `package` name where each comes from."
)

BOILERPLATE = re.compile(r"(?i)\b(this|these|the) (\w+[ -]){0,2}(meta)?packages?\b|\bdebian\b|\bsee also\b")
ADDRESS = re.compile(r"https?://|ftp://|www\.|\S@\S|/usr/|\S+::\S+")
END = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)(?<!etc\.)(?<!vs\.)(?<!cf\.)\s+(?=[\"'(]?[A-Z0-9])")
LIST = re.compile(r"^\s*([-*+o•·]|\d+[.)])\s+")
NO_SUBJECT = re.compile(r"(?i)\b(transitional|dummy|debug(ging)? symbols|metapackage|empty package)\b")


def stanzas(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    """The records of an apt index: fields and their text; the continuation lines keep their first blank."""
    record: dict[str, str] = {}
    name = ""
    for line in [*lines, ""]:
        if not line.strip():
            if record:
                yield record
            record = {}
        elif line[0] == " ":
            record[name] += "\n" + line
        else:
            name, _, value = line.partition(":")
            record[name] = value.strip()


def sentences(description: str) -> tuple[str, list[str]]:
    """The synopsis and the sentences of the running text, without verbatim lines, lists, addresses and boilerplate.

    >>> sentences("A game\\n Kill all evil aliens. You have three lives!\\n  - a list\\n .\\n See http://a.b for more.")
    ('A game', ['Kill all evil aliens.', 'You have three lives!'])
    """
    synopsis, *lines = description.split("\n")
    paragraphs, open_ = [[]], True
    for line in lines:
        text = line[1:]
        if text.strip() in (".", "") or text[:1] == " " or LIST.match(text):
            paragraphs.append([])
            open_ = text.strip() in (".", "")  # what follows an item of a list may be its second line
        elif open_:
            paragraphs[-1].append(text.strip())
    found = [one for words in paragraphs for one in END.split(re.sub(r"\s+", " ", " ".join(words)).strip())]
    return synopsis.strip(), [one for one in found if is_prose(one)]


def is_prose(sentence: str) -> bool:
    words = sentence.split()
    letters = sum(letter.isascii() and letter.isalpha() for letter in sentence)
    return (
        4 <= len(words) <= 60
        and letters >= 0.7 * (len(sentence) - len(words) + 1)
        and sentence[-1] not in ":;,"
        and not BOILERPLATE.search(sentence)
        and not ADDRESS.search(sentence)
    )


def key(sentence: str) -> str:
    return re.sub(r"\W+", " ", sentence).strip().lower()


def documents(packages: Iterable[dict[str, str]], descriptions: Iterable[dict[str, str]]) -> list[dict]:
    """One document per source package, sorted by name, with its part: train, dev or test.

    Of the binary packages of a source the one with the most text counts. Sources that share a sentence stand in the
    same part. Of the sections in `LABELS` a tenth is dev and three tenths test, of the others 3 % are dev.
    """
    texts = {(one["Package"], one["Description-md5"]): one["Description-en"] for one in descriptions}
    best: dict[str, dict] = {}
    for package in packages:
        name, text = package["Package"], texts.get((package["Package"], package.get("Description-md5", "")))
        if text is None or NO_SUBJECT.search(text.split("\n")[0]):
            continue
        synopsis, found = sentences(text)
        source = package.get("Source", name).split()[0]
        document = {
            "source": source, "package": name, "section": package.get("Section", "").split("/")[-1],
            "synopsis": synopsis, "sentences": list(dict.fromkeys(found)),
        }  # fmt: skip
        if size(document) > size(best.get(source)):
            best[source] = document
    counts = Counter(key(one) for document in best.values() for one in document["sentences"])
    for document in best.values():
        document["sentences"] = [one for one in document["sentences"] if counts[key(one)] <= SHARED]
    kept = [best[source] for source in sorted(best) if best[source]["sentences"] and best[source]["synopsis"]]
    for document, family in zip(kept, families(kept), strict=True):
        document["part"] = part(family, document["section"])
    return kept


def size(document: dict | None) -> int:
    return sum(map(len, document["sentences"])) if document else 0


def families(kept: list[dict]) -> list[str]:
    """For each document the first source that it is connected to by a chain of shared sentences."""
    parent = {document["source"]: document["source"] for document in kept}

    def root(source: str) -> str:
        while parent[source] != source:
            source = parent[source]
        return source

    first: dict[str, str] = {}
    for document in kept:
        for sentence in document["sentences"]:
            other = root(first.setdefault(key(sentence), document["source"]))
            mine = root(document["source"])
            parent[max(mine, other)] = min(mine, other)
    return [root(document["source"]) for document in kept]


def part(family: str, section: str) -> str:
    share = percent(family)
    if section in LABELS:
        return "dev" if share < 10 else "test" if share < 40 else "train"
    return "dev" if share < 3 else "train"


def percent(name: str) -> float:
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 16**8 * 100


def sample(corpus: list[dict]) -> dict:
    """The held-out documents that are shipped: `SAMPLE` of each section, chosen by hash, cut after a few sentences."""
    groups = defaultdict(list)
    for document in sorted(corpus, key=lambda document: percent("sample " + document["source"])):
        groups[document["part"], document["section"]].append(document)
    rows = []
    for which, most in SAMPLE.items():
        for section in LABELS:
            for document in groups[which, section][:most]:
                chosen: list[str] = []
                for sentence in document["sentences"]:
                    if sum(map(len, chosen)) < SAMPLE_LETTERS:
                        chosen.append(sentence)
                names = {name: document[name] for name in ("part", "section", "source", "package", "synopsis")}
                rows.append(names | {"sentences": chosen})
    return {"licence": LICENCE, "labels": LABELS, "documents": rows}


def apt_lists(folder: Path) -> tuple[Path, Path]:
    """(Packages, Translation-en) of the first archive's component main, downloaded by apt into `folder`."""
    for name in ("state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    options = [f"Dir::State={folder}/state", f"Dir::Cache={folder}/cache", "Acquire::Languages=en"]
    options = [word for option in [*options, "Dir::State::status=/var/lib/dpkg/status"] for word in ("-o", option)]
    subprocess.run(["apt-get", "update", *options], check=True)
    layout = "$(CREATED_BY) $(CODENAME) $(COMPONENT) $(FILENAME)"
    table = subprocess.run(
        ["apt-get", "indextargets", *options, "--format", layout], check=True, capture_output=True, text=True
    ).stdout
    rows = [line.split() for line in table.splitlines()]
    rows = [row for row in rows if len(row) == 4 and row[2] == "main" and re.fullmatch(r"[a-z]+", row[1])]
    files = [next((row for row in rows if row[0] == kind), None) for kind in ("Packages", "Translations")]
    if None in files:
        raise SystemExit("apt has no index of packages with English descriptions: is this Debian or Ubuntu?")
    print(f"descriptions of {files[0][1]}, component main")
    return Path(files[0][3]), Path(files[1][3])


def read(path: Path) -> list[str]:
    found = subprocess.run(["/usr/lib/apt/apt-helper", "cat-file", str(path)], check=True, capture_output=True)
    return found.stdout.decode("utf-8").splitlines()


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the corpus, one JSON document per line")
    parser.add_argument("--sample", type=Path, help="the held-out documents that are shipped")
    parser.add_argument("--apt-folder", type=Path, help="where apt works; default: a temporary folder")
    options = parser.parse_args(given)
    with tempfile.TemporaryDirectory() as temporary:
        packages, translations = apt_lists((options.apt_folder or Path(temporary)).resolve())
        corpus = documents(tqdm(list(stanzas(read(packages))), desc="packages"), list(stanzas(read(translations))))
    text = "".join(json.dumps(document, ensure_ascii=False) + "\n" for document in corpus)
    options.out.write_text(text, encoding="utf-8")
    if options.sample:
        found = sample(corpus)
        lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in found.pop("documents"))
        head = json.dumps(found, indent=1, ensure_ascii=False)[:-2]
        options.sample.write_text(head + ',\n "documents": [\n' + lines + "\n ]\n}\n", encoding="utf-8")
    parts = Counter(document["part"] for document in corpus)
    print(f"{len(corpus)} documents {dict(parts)}, {sum(len(d['sentences']) for d in corpus)} sentences, "
          f"{len(text.encode()) / 1e6:.1f} MB, sha256 {hashlib.sha256(text.encode()).hexdigest()}")  # fmt: skip


if __name__ == "__main__":
    main()
