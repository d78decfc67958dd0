"""Fixtures of the demo's tests, for those of its command."""

from tests.demo.conftest import dance, model, person

__all__ = ["dance", "model", "person"]
