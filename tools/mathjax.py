"""MathJax from the installed package `django-static-mathjax`, for pages that typeset their maths without a network."""

import importlib.util
import shutil
from pathlib import Path

SCRIPT = "tex-chtml.js"  # TeX with the AMS packages in, fonts as below out; the menu would need more files
FONTS = "output/chtml/fonts/woff-v2"


def installed() -> Path:
    """Folder of the installed MathJax.

    Raises
    ------
    ModuleNotFoundError
        When the package is missing, with what to install.
    """
    spec = importlib.util.find_spec("mathjax")
    folder = Path(spec.origin).parent / "static/mathjax" if spec and spec.origin else None
    if folder is None or not (folder / "es5" / SCRIPT).exists():
        raise ModuleNotFoundError("MathJax is not installed: make installs it, or pip install -e '.[site]'")
    return folder


def copy_mathjax(folder: Path) -> Path:
    """Copy what typesetting needs, 1.5 MB, into a folder; the script that a page loads.

    The page sets ``MathJax = {options: {enableMenu: false}, …}`` before it, because the menu is not copied.
    """
    source = installed()
    (folder / FONTS).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / "LICENSE", folder / "LICENSE")
    for font in (source / "es5" / FONTS).glob("*.woff"):
        shutil.copyfile(font, folder / FONTS / font.name)
    return Path(shutil.copyfile(source / "es5" / SCRIPT, folder / SCRIPT))
