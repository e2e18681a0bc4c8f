"""What every page of the built site must satisfy, as far as the files alone can tell."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

SITE_BYTES = 60_000_000
FIGURE_BYTES = 600_000
_LOADED = {"script": "src", "img": "src", "source": "srcset", "iframe": "src", "video": "src", "audio": "src"}
_LINK_LOADS = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload", "manifest"}


class Page(HTMLParser):
    """What a page loads, where it leads, the names of its places, and its figures."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.playable: list[str] = []
        self.images_without_alt: list[str] = []
        self.language = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "html":
            self.language = given.get("lang", "")
        if _LOADED.get(tag) in given:
            self.loads.append(given[_LOADED[tag]])
        if tag == "link" and _LINK_LOADS & set(given.get("rel", "").split()):
            self.loads.append(given["href"])
        if (tag == "a" and "href" in given) or (tag == "link" and given.get("rel") == "alternate"):
            self.links.append(given["href"])
        if tag == "img" and "alt" not in given:
            self.images_without_alt.append(given.get("src", ""))
        if "playable" in given.get("class", "").split():
            self.playable.append(given["data-frames"])


def check(site: Path) -> list[str]:
    """Complaints about the pages: what leaves the site, what is missing, what is too heavy."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    found = [] if pages else [f"{site}: no page"]
    for page in pages.values():
        found += [f"{page.path.relative_to(site)}: {complaint}" for complaint in _faults(page, site, pages)]
    for path in site.rglob("*.css"):
        urls = re.findall(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", path.read_text(encoding="utf-8"))
        outside = [url for pair in urls for url in pair if _is_outside(url)]
        found += [f"{path.relative_to(site)}: loads {url}" for url in outside]
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    if size > SITE_BYTES:
        found.append(f"the site has {size:,} bytes, allowed {SITE_BYTES:,}")
    return found


def _faults(page: Page, site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    if not page.language:
        yield "does not say its language"
    for name in sorted({name for name in page.ids if page.ids.count(name) > 1}):
        yield f"the id {name!r} occurs twice"
    for source in page.images_without_alt:
        yield f"no alternative text for {source}"
    for address in page.loads:
        if _is_outside(address):
            yield f"loads {address} from outside"
        elif not _target(page, address).exists():
            yield f"loads {address}, which is not there"
    for address in page.links:
        if urlsplit(address).scheme or address.startswith("//"):
            continue
        target = _target(page, address)
        if target.is_dir():
            target /= "index.html"
        place = unquote(urlsplit(address).fragment)
        if not target.exists():
            yield f"links to {address}, which is not there"
        elif place and target in pages and place not in pages[target].ids:
            yield f"links to {address}, where nothing is called {place!r}"
    for folder in page.playable:
        frames = list(_target(page, folder).glob("*.webp"))
        size = sum(frame.stat().st_size for frame in frames)
        if len(frames) < 2:
            yield f"the figure {folder} has no frames"
        if size > FIGURE_BYTES:
            yield f"the figure {folder} has {size:,} bytes, allowed {FIGURE_BYTES:,}"


def _is_outside(address: str) -> bool:
    return address.startswith("//") or urlsplit(address).scheme not in ("", "data")


def _target(page: Page, address: str) -> Path:
    path = unquote(urlsplit(address).path)
    return (page.path.parent / path).resolve() if path else page.path
