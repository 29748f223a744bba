"""Fixtures of this room."""

from tests.fakes.stage_context import make_context

__all__ = ["make_context"]
