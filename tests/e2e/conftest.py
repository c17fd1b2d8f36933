"""Tests that run nodes as processes and judge them from outside."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "e2e: runs nodes as processes, judged through their RPC")
