"""Packages that some tests compare with and that need not be installed."""

import importlib.util

import pytest


def need(name):
    """The test is not run without this package."""
    if importlib.util.find_spec(name) is None:
        reason = f"not run: the references against {name}, because it is not installed"
        print(reason)
        pytest.skip(reason)
