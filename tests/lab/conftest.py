"""What the tests of the shared tools have in common."""

import importlib
from contextlib import contextmanager

import pytest


@pytest.fixture
def refuses():
    """Context manager: the block raises exactly this kind of error with exactly this message."""

    @contextmanager
    def manager(kind, message):
        with pytest.raises(kind) as caught:
            yield caught
        assert type(caught.value) is kind
        assert str(caught.value) == message

    return manager


@pytest.fixture
def shown(monkeypatch):
    """Objects handed to IPython's ``display``, in order."""
    objects = []
    for name in ("claims", "figures", "progress", "source"):
        # helpers.lab.claims is the function: the module of that name is found by import_module only
        monkeypatch.setattr(importlib.import_module(f"helpers.lab.{name}"), "display", objects.append)
    return objects
