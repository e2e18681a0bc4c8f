"""Is this machine ready? Said in words, with the remedy."""

import sys
from importlib import metadata

from matplotlib import font_manager
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

DISTRIBUTION = "movable-derivations"


def problems() -> list[str]:
    """What is wrong with the running Python, its packages and its fonts; an empty list when all is well."""
    try:
        meta = metadata.metadata(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return ["The package 'helpers' is not installed in this kernel: run `make lab`, or `pip install -e .` here."]
    found = []
    python = ".".join(map(str, sys.version_info[:3]))
    if python not in SpecifierSet(meta["Requires-Python"]):
        found.append(f"Python is {python} and must be {meta['Requires-Python']}: choose another kernel or environment.")
    for line in metadata.requires(DISTRIBUTION) or []:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            found.append(f"{requirement.name} is missing: run `make lab`, or `pip install '{requirement}'`.")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            found.append(f"{requirement.name} is {version} and must be {requirement.specifier}: run `make lab` again.")
    if not any(font.name == "DejaVu Sans" for font in font_manager.fontManager.ttflist):
        found.append("The font DejaVu Sans, which Matplotlib ships, is missing: figures may show boxes for symbols.")
    return found


def self_test() -> None:
    """Print what is wrong and how to mend it, or that everything is in place.

    Examples
    --------
    >>> self_test()
    Everything is in place.
    """
    print("\n".join(problems()) or "Everything is in place.")
