"""Fingerprints: the identity of an artifact is the digest of its recipe.

A recipe is (asset, stage version, resolved config, fingerprints of the artifacts it reads,
generation). What only says where or how fast something runs (launcher, cluster, paths, log level,
tracking, number of processes) is never part of one. Standard library only.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

FINGERPRINT_LENGTH = 32


def canonical_json(value: Any) -> str:
    """Return one text for equal values: keys sorted, no spaces, floats as Python prints them.

    Raises: ValueError for NaN and infinities, which have no equal.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True
    )


def digest_of(value: Any) -> str:
    """Return a digest of a JSON value, 32 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:FINGERPRINT_LENGTH]


def digest_of_text(text: str) -> str:
    """Return the digest of a value that `canonical_json` wrote."""
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_LENGTH]


def fingerprint(
    asset: str,
    version: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, Iterable[str]],
    generation: int = 0,
) -> str:
    """Return the fingerprint of a recipe.

    Args: inputs: per asset that is read, the fingerprints of the partitions that are read. Their
    order and the names of the partitions do not count: what was renamed is still the same.
    """
    recipe: dict[str, Any] = {
        "asset": asset,
        "version": version,
        "config": config,
        "inputs": {name: sorted(prints) for name, prints in inputs.items()},
    }
    if generation:
        recipe["generation"] = generation
    return digest_of(recipe)


def fingerprint_of_text(
    asset: str,
    version: str,
    config: str,
    inputs: Mapping[str, Iterable[str]],
    generation: int = 0,
) -> str:
    """Return the same as `fingerprint`, given the config as `canonical_json` writes it: thousands
    of partitions share a config.
    """
    read = ",".join([f'"{name}":{_listed(inputs[name])}' for name in sorted(inputs)])
    again = f'"generation":{generation},' if generation else ""
    text = (
        f'{{"asset":"{asset}","config":{config},{again}'
        f'"inputs":{{{read}}},"version":{_quoted(version)}}}'
    )
    return digest_of_text(text)


_quoted = functools.cache(canonical_json)


def _listed(prints: Iterable[str]) -> str:
    """Return fingerprints, which need no escaping, as a sorted JSON list."""
    listed = '","'.join(sorted(prints))
    return f'["{listed}"]' if listed else "[]"
