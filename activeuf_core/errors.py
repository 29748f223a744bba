"""The errors that ActiveUF raises on purpose.

    ActiveUFError
    ├── ConfigError            a config file or a command-line value is wrong       (permanent)
    ├── DataError              rows, features or a model folder are wrong           (permanent)
    ├── ArtifactError          an artifact is missing, incomplete or corrupt        (permanent)
    ├── LaunchError            a launcher could not start, find or end a job        (retryable)
    └── ServerError            a server that a stage asks did not answer in time    (retryable)

A message says what failed, the value, what was allowed, and what to do next. *Permanent* means that
the same input fails again, so nothing retries it. To add a class: put it in the tree above, say
when it is raised, and raise it at a boundary (a file, a config, a cluster), never to steer control
flow.
"""

from __future__ import annotations

from collections.abc import Iterable


class ActiveUFError(Exception):
    """Base of every error that ActiveUF raises on purpose."""

    retryable = False


class ConfigError(ActiveUFError, ValueError):
    """A config file or a command-line value is wrong."""


class DataError(ActiveUFError, ValueError):
    """Rows, features or a model folder are not what the stage can work with."""


class ArtifactError(ActiveUFError):
    """An artifact is missing, incomplete or does not match its manifest."""


class LaunchError(ActiveUFError, RuntimeError):
    """A launcher could not start, find or end a job."""

    retryable = True


class ServerError(ActiveUFError, RuntimeError):
    """A server that a stage asks did not answer within its patience."""

    retryable = True


SHOWN = 24
"""How many allowed names a message lists: all assets, not all of ten thousand experiments."""


def choose_from(value: object, allowed: Iterable[str]) -> str:
    """Say what was allowed, the nearest spelling first: the end of a message about a wrong name."""
    import difflib  # only a wrong name needs it, and every SLURM task imports this module

    names = sorted(allowed)
    near = difflib.get_close_matches(str(value), names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{hint}allowed: {', '.join(names[:SHOWN]) + more if names else 'none'}"
