"""What the theme leaves open for readers who use a keyboard or a screen reader, put right in the finished pages."""

import re
from pathlib import Path

# What axe-core found in the theme's own parts, and the same part as it should be.
PARTS = {
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="All pages">',
    '<aside class="toc-drawer">': '<aside class="toc-drawer" aria-label="On this page">',
    '<aside class="toc-drawer no-toc">': '<aside class="toc-drawer no-toc" aria-label="On this page">',
    '<p class="caption" role="heading">': '<p class="caption" role="heading" aria-level="2">',
    '<div id="search-results"></div>': '<h1>Search</h1>\n<div id="search-results"></div>',
}
_EMPTY_HEAD = re.compile(r'<th class="head[^>]*">\s*(?:<p>\s*</p>)?\s*</th>')


def mend(page: str) -> str:
    """The page with every such part replaced; an empty head of a column becomes a plain cell."""
    for part, better in PARTS.items():
        page = page.replace(part, better)
    return _EMPTY_HEAD.sub("<td></td>", page)


def mend_site(site: Path) -> None:
    """Mend every page of a site, in place."""
    for path in site.rglob("*.html"):
        path.write_text(mend(path.read_text(encoding="utf-8")), encoding="utf-8")
