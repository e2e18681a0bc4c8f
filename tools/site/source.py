"""The source that Sphinx reads: a mirror of the repository's texts and notebooks, pictures made into figures."""

import base64
import html
import io
import json
import os
import re
import shutil
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import numpy as np
from nbformat import NotebookNode
from PIL import Image

from helpers.lab.figures import without_caption
from tools.links import relink
from tools.notebooks import METADATA, ROOT, Notebook
from tools.site.frames import Playable, frames, webp

ASSETS = "_static/figures"  # below the site's root
_CHINESE = re.compile(
    "[\u4e00-\u9fff][\u3000-\u303f\u4e00-\u9fff\uff00-\uffefA-Za-z0-9.:?,]*[\u4e00-\u9fff\uff1f?]|[\u4e00-\u9fff]"
)
TEXTS = ("CONTRIBUTING.md", "LICENSE", "LICENSE-TEXT", "CITATION.cff", "course/**/*.md")


def write(source: Path, assets: Path, cache: Path, notebooks: list[Path] | None = None, root: Path = ROOT) -> None:
    """Write the whole source, and below `assets` the files that become ``_static`` of the site.

    Parameters
    ----------
    source, assets : Path
        Folders; both are emptied first.
    cache : Path
        Where the frames are kept from one build to the next.
    notebooks : list of Path, optional
        Build these only, for tests; all notebooks and their solutions by default.
    root : Path
        The repository.
    """
    for folder in (source, assets):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    everything = sorted(root.glob("notebooks/*.ipynb")) + sorted(root.glob("notebooks/solutions/*.ipynb"))
    chosen = everything if notebooks is None else notebooks
    texts = sorted(path for pattern in TEXTS for path in root.glob(pattern))
    places = {path.relative_to(root).as_posix() for path in [*texts, *chosen]}
    links = partial(rewrite_links, places=places, root=root)
    for path in texts:
        place = path.relative_to(root)
        (source / place).parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            (source / place).write_text(links(path.read_text(encoding="utf-8"), place), encoding="utf-8")
        else:
            shutil.copyfile(path, source / place)
    for path in chosen:
        place = path.relative_to(root)
        (source / place).parent.mkdir(parents=True, exist_ok=True)
        page = page_of(Notebook.read(path), place, assets, cache)
        for cell in page.cells:
            if cell.cell_type == "markdown":
                cell.source = say_chinese(links(cell.source, place))
        (source / place).write_text(nbformat.v4.writes(page), encoding="utf-8")
    for page in source.glob("course/zh/*.md"):
        text = re.sub(r"(?<=[\u3000-\u9fff\uff00-\uffef])\n(?=[\u4e00-\u9fff])", "", with_first_picture(page, assets))
        page.write_text(text, encoding="utf-8")  # a line's end would become a blank between two sentences
    readme = say_chinese(links((root / "README.md").read_text(encoding="utf-8"), Path("README.md")))
    (source / "index.md").write_text(front_page(readme, places), encoding="utf-8")


def rewrite_links(text: str, place: Path, places: set[str], root: Path) -> str:
    """The README is the front page; what the repository has and the site has not stays as words.

    What neither has is left alone: Sphinx then complains of it.
    """

    def address_of(address: str) -> str:
        path, mark, anchor = address.partition("#")
        if not path or urlsplit(address).scheme:
            return address
        target = os.path.normpath(place.parent / path)
        if target == "README.md":
            return f"{path.removesuffix('README.md')}index.md{mark}{anchor}"
        return "" if target not in places and (root / target).exists() else address

    return relink(text, address_of)


def say_chinese(text: str) -> str:
    """Mark Chinese within English, so that a screen reader changes its voice and the browser its font."""
    return _CHINESE.sub(r'<span lang="zh-Hans">\g<0></span>', text)


def anchor(title: str) -> str:
    """The name of a heading's place, as JupyterLab makes it."""
    return title.replace(" ", "-")


# ---------------------------------------------------------------- pages of notebooks


def page_of(notebook: Notebook, place: Path, assets: Path, cache: Path) -> NotebookNode:
    """The notebook with every picture as an HTML figure: Explorers playable, captions as text."""
    up = "../" * (len(place.parts) - 1)
    name = "-".join(place.with_suffix("").parts[1:])
    drawn, told = frames(notebook.path, cache)
    playable = {figure.cell: figure for figure in told}
    (assets / "figures" / name).mkdir(parents=True, exist_ok=True)
    for k, cell in enumerate(notebook.node.cells):
        if cell.cell_type == "markdown":
            continue
        for n, output in enumerate(cell.get("outputs", [])):
            data = output.get("data", {})
            if "image/png" not in data:
                continue
            caption = data.get("text/plain", "")
            if figure := playable.get(k):
                shutil.copytree(drawn / str(k), assets / "figures" / name / str(k), dirs_exist_ok=True)
                shown = playable_html(figure, f"{up}{ASSETS}/{name}/{k}", f"{name}-{k}", place.name)
            else:
                file = f"{k}-{n}.webp"
                size = _save_picture(data["image/png"], caption, assets / "figures" / name / file)
                shown = still_html(f"{up}{ASSETS}/{name}/{file}", caption, *size)
            output.data = nbformat.from_dict({"text/html": shown})
    notebook.node.metadata = nbformat.from_dict(METADATA)
    return notebook.node


def _save_picture(data: str, caption: str, path: Path) -> tuple[int, int]:
    rgb = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
    rgb = without_caption(rgb, caption)
    path.write_bytes(webp(rgb))
    return rgb.shape[1], rgb.shape[0]


def with_first_picture(page: Path, assets: Path) -> str:
    """The Chinese page with the picture that its notebook begins with, before the verdict."""
    text = page.read_text(encoding="utf-8")
    pictures = (assets / "figures" / page.stem).glob("*-*.webp")
    if (first := min(pictures, key=lambda file: int(file.stem.partition("-")[0]), default=None)) is None:
        return text
    with Image.open(first) as picture:
        width, height = picture.size
    shown = (
        f'<figure class="picture"><img src="../../{ASSETS}/{page.stem}/{first.name}" width="{width}" '
        f'height="{height}" alt="上文所说的图">'
        f'<figcaption><a href="../../notebooks/{page.stem}.html" hreflang="en">在英文笔记本里可以动手操作</a>'
        "</figcaption></figure>"
    )
    return re.sub(r"^(?=\*\*结论\*\*)", lambda _: f"{shown}\n\n", text, count=1, flags=re.MULTILINE)


def still_html(file: str, caption: str, width: int, height: int) -> str:
    """A picture with its caption as text."""
    return (
        f'<figure class="picture"><img src="{file}" width="{width}" height="{height}" loading="lazy" '
        f'alt="The picture that the caption below puts in numbers">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def playable_html(figure: Playable, folder: str, name: str, notebook: str) -> str:
    """A figure that site.js makes playable; without JavaScript, the picture and caption of the defaults."""
    start, longest, widest = figure.start, max(figure.captions, key=len), max(map(len, figure.values))
    fixed = f"Fixed here: {'; '.join(figure.others)}. " if figure.others else ""
    button = f"There a button says “{figure.run}”. " if figure.run else ""
    moved = "All of them move" if figure.others else "It moves"
    note = html.escape(f"{fixed}{moved} in the notebook {notebook}. {button}".strip())
    told = json.dumps({"values": figure.values, "captions": figure.captions}, ensure_ascii=False).replace(
        "<", "\\u003c"
    )
    return f"""<figure class="picture playable" data-frames="{folder}" data-start="{start}">
<div class="play" hidden>
<label for="{name}">{html.escape(figure.control)}</label>
<input type="range" id="{name}" min="0" max="{len(figure.values) - 1}" step="1" value="{start}" \
aria-valuetext="{html.escape(figure.values[start])}" aria-describedby="{name}-note" autocomplete="off">
<span class="value" style="min-width: min({widest}ch, 100%)" aria-hidden="true">\
{html.escape(figure.values[start])}</span>
<button type="button" class="reset">Reset</button>
</div>
<img src="{folder}/{start}.webp" width="{figure.width}" height="{figure.height}" loading="lazy" \
alt="{html.escape(figure.about)}; the caption below puts it in numbers">
<figcaption>
<div class="caption"><span aria-live="polite" aria-atomic="true">{html.escape(figure.captions[start])}</span>\
<span class="longest" aria-hidden="true">{html.escape(longest)}</span></div>
<div class="note" id="{name}-note">{note}</div>
</figcaption>
<script type="application/json">{told}</script>
</figure>"""


# ---------------------------------------------------------------- the front page


def front_page(readme: str, places: set[str]) -> str:
    """The README's opening and its table of notebooks, then the contents of the site by section."""
    opening = re.sub(
        r"^!\[.*\n", "", readme.partition("\n## ")[0], flags=re.MULTILINE
    )  # a picture of sliders is no slider
    table = re.search(r"^## The notebooks\n.*?(?=^## )", readme, re.MULTILINE | re.DOTALL)
    sections = {
        "Notebooks": r"notebooks/[^/]+\.ipynb",
        "中文": r"course/zh/.+\.md",
        "For lecturers": r"course/(lecturer/)?[^/]+\.md",
        "Worked solutions": r"notebooks/solutions/.+\.ipynb",
        "The project": r"[^/]+\.md",
    }
    parts = [opening, table[0] if table else ""]
    for title, pattern in sections.items():
        if pages := sorted(place for place in places if re.fullmatch(pattern, place)):
            parts.append("\n".join(["```{toctree}", f":caption: {title}", ":hidden:", "", *pages, "```"]))
    return "\n\n".join(parts) + "\n"
