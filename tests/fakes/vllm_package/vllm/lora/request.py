"""An adapter that is applied to one request."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class LoRARequest:
    name: str
    number: int
    path: str
