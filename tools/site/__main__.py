"""`make site`: build build/site from the executed notebooks, without a kernel of theirs and without a network.

``python -m tools.site [--out folder] [notebook …]``; ends with a check of every page and fails when one has a fault.
"""

import argparse
import hashlib
import shutil
import sys
import time
import warnings
from pathlib import Path

from sphinx.cmd.build import build_main

from tools.browser import NONE, chromium, find_chromium
from tools.mathjax import copy_mathjax
from tools.notebooks import ROOT
from tools.site import source
from tools.site.browser import inspect
from tools.site.check import check
from tools.site.frames import NoFrames
from tools.site.mend import mend_site

HERE = Path(__file__).parent


def build(
    out: Path, notebooks: list[Path] | None = None, cache: Path = ROOT / "build/cache/frames", root: Path = ROOT
) -> list[str]:
    """Build the site of a repository; complaints of Sphinx, or of the check of its pages."""
    work = out.parent / f"{out.name}-source"
    try:
        source.write(work / "pages", work / "assets", cache, notebooks, root)
    except NoFrames as problem:
        return [str(problem)]
    copy_mathjax(work / "assets/mathjax")
    shutil.rmtree(out, ignore_errors=True)
    options = ["-q", "-W", "--keep-going", "-b", "html", "-c", str(HERE), "-d", str(work / "doctrees"), "-E"]
    options += ["-D", f"html_static_path={HERE / 'static'},{work / 'assets'}"]
    with warnings.catch_warnings(action="ignore"):  # of deprecations, between Sphinx and its extensions
        faults = build_main([*options, str(work / "pages"), str(out)])
    if faults:
        return ["Sphinx found the faults above"]
    for name in (".buildinfo", "objects.inv"):
        (out / name).unlink(missing_ok=True)
    mend_site(out)
    return check(out)


def look(out: Path, cache: Path = ROOT / "build/cache/looked") -> list[str]:
    """Complaints of a browser about the built site; pages that it had none about before are not opened again."""
    path = find_chromium()
    if path is None:
        print(f"{NONE}; the pages were checked as files only")
        return []
    cache.mkdir(parents=True, exist_ok=True)
    shared = b"".join(
        file.read_bytes() for kind in ("js", "css") for file in sorted((out / "_static").rglob(f"*.{kind}"))
    )
    shared += (HERE / "browser.py").read_bytes()
    complaints = []
    with chromium(path) as browser:
        for page in sorted(out.rglob("*.html")):
            good = cache / hashlib.sha256(str(page.relative_to(out)).encode() + page.read_bytes() + shared).hexdigest()
            if good.exists():
                continue
            found = inspect(browser, page)
            complaints += [f"{page.relative_to(out)}: {complaint}" for complaint in found]
            if not found:
                good.touch()
    return complaints


def main(arguments: list[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build/site")
    parser.add_argument("--root", type=Path, default=ROOT, help="the collection, or what `make student` made of it")
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="notebook", help="all without any")
    given = parser.parse_args(arguments)
    out, start = given.out.resolve(), time.perf_counter()
    found = build(out, [path.resolve() for path in given.notebooks] or None, root=given.root.resolve())
    if not found:
        built = time.perf_counter() - start
        pages = len(list(out.rglob("*.html")))
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        print(f"{out}: {pages} pages, {size / 1e6:.1f} MB, built in {built:.0f} s", flush=True)
        found = look(out)
        print(f"looked at in {time.perf_counter() - start - built:.0f} s")
    for complaint in found:
        print(complaint, file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
