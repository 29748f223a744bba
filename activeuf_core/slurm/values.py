"""Values of a cluster file that end in an argument of `sbatch` or in a script: what they may be.

In: what YAML holds. Out: the annotated types that the models in `cluster.py` are made of, and the
checks behind them as functions. What SLURM could not take is refused here, when the file is read,
and not by a job that waited for a night.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

MAX_BYTES = 1024
"""SLURM's own limit for a job's name, comment and paths."""
MAX_VARIABLE_BYTES = 32 * 1024
"""Of a variable's value. The kernel takes four times that for a name and its value."""
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
SIZE = re.compile(r"([1-9][0-9]{0,8})([KMGT])")
UNITS = {"K": 1, "M": 1024, "G": 1024**2, "T": 1024**3}
"""Kibibytes per unit of memory."""
MAX_DAYS = 3650
SHELLS_OWN = frozenset(
    {"_", "DIRSTACK", "EPOCHREALTIME", "EPOCHSECONDS", "EUID", "FUNCNAME", "GROUPS", "HISTCMD"}
    | {"IFS", "LINENO", "OPTIND", "PIPESTATUS", "PPID", "PWD", "RANDOM", "SECONDS", "SHELLOPTS"}
    | {"SHLVL", "SRANDOM", "UID", "OLDPWD"}
)
"""Variables that bash sets or refuses to set."""
RESERVED_PREFIXES = ("BASH", "SLURM_", "SBATCH_")
RESERVED_OPTIONS = (
    *("array", "chdir", "clusters", "comment", "error", "export", "export-file", "help", "hold"),
    *("ignore-pbs", "input", "job-name", "kill-on-invalid-dep", "no-requeue", "open-mode"),
    *("output", "parsable", "quiet", "requeue", "signal", "test-only", "uid", "usage", "version"),
    *("wait", "wrap"),
)
"""Options of sbatch that the launcher sets itself, or that would make sbatch do something else."""


def check_text(text: str) -> str:
    """Return `text` if it can be one argument of a command. Raises: ValueError with the rule."""
    if not text or text.startswith("-") or CONTROL.search(text):
        raise ValueError("must hold something, not begin with '-' and have no control character")
    if _size(text) > MAX_BYTES:
        raise ValueError(f"has {_size(text)} bytes; SLURM takes at most {MAX_BYTES}")
    return text


def check_path(text: str) -> str:
    """Return `text` if it is a path as a node needs it. Raises: ValueError with the rule."""
    if not check_text(text).startswith("/"):
        raise ValueError(
            "must be an absolute path: '~' and relative paths mean different places on different "
            "machines"
        )
    return text


def check_program(text: str) -> str:
    """Return `text` if it is an absolute path, or the bare name of a program."""
    return check_path(text) if "/" in text or text.startswith("~") else check_text(text)


def check_variable(name: str) -> str:
    """Return `name` if a variable of that name reaches a job. Raises: ValueError with the rule."""
    if not NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is no name of a variable: letters, digits and '_', no digit first"
        )
    if name in SHELLS_OWN or name.startswith(RESERVED_PREFIXES) or name == "PYTHONPATH":
        raise ValueError(
            f"{name} is set by the shell, by SLURM or by the launcher; use a line of `setup`"
        )
    return name


def check_variable_value(text: str) -> str:
    """Return `text` if a variable can hold it. Raises: ValueError with the rule."""
    if "\0" in text:
        raise ValueError("holds a NUL character, which no environment can hold")
    if _size(text) > MAX_VARIABLE_BYTES:
        raise ValueError(f"has {_size(text)} bytes, allowed are {MAX_VARIABLE_BYTES}; use a file")
    return text


def check_line(text: str) -> str:
    """Return `text` if it is one line of shell. Raises: ValueError with the rule."""
    if "\n" in text or "\r" in text or "\0" in text:
        raise ValueError("must be one line; give every line of shell an item of its own")
    _size(text)
    return text


def check_sbatch_option(text: str) -> str:
    """Return `text` if it is an option of sbatch that may be added. Raises: ValueError otherwise.

    sbatch understands every beginning of an option's name that is unique, so beginnings of what the
    launcher sets itself are refused with it.
    """
    if not text.startswith("--") or len(text) < 3 or CONTROL.search(text):
        raise ValueError("must be one argument of the form '--option=value' on one line")
    if _size(text) > MAX_BYTES:
        raise ValueError(f"has {_size(text)} bytes; SLURM takes at most {MAX_BYTES}")
    name = text[2:].partition("=")[0]
    taken = [option for option in RESERVED_OPTIONS if option.startswith(name)]
    if taken:
        raise ValueError(f"--{taken[0]} is the launcher's own; remove it")
    return text


def kibibytes(size: str) -> int:
    """Return a size such as 500M in KiB. Raises: ValueError with the form."""
    found = SIZE.fullmatch(size)
    if not found:
        raise ValueError("must be a whole number with K, M, G or T, such as 500M or 64G")
    return int(found[1]) * UNITS[found[2]]


def size_of(amount: float) -> str:
    """Write KiB as SLURM reads a size, rounded up to whole MiB."""
    mebibytes = max(1, -int(-amount // 1024))
    return f"{mebibytes // 1024}G" if mebibytes % 1024 == 0 else f"{mebibytes}M"


def minutes_of(time: str) -> int:
    """Return a time limit in minutes, rounded up as SLURM does. Raises: ValueError with the forms.

    SLURM's forms: MM, MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS.
    """
    days, dash, rest = time.rpartition("-")
    parts = [*([days] if dash else []), *rest.split(":")]
    numbers = [int(part) for part in parts if re.fullmatch("[0-9]{1,6}", part)]
    if len(numbers) != len(parts) or len(parts) > (4 if dash else 3):
        raise ValueError('must be one of "MM", "MM:SS", "HH:MM:SS", "D-HH", "D-HH:MM:SS"')
    short = {1: [60], 2: [60, 1], 3: [3600, 60, 1]}
    units = [86400, 3600, 60, 1] if dash else short[len(parts)]
    seconds = sum(number * unit for number, unit in zip(numbers, units, strict=False))
    if not 0 < seconds <= MAX_DAYS * 86400:
        raise ValueError(f"must be more than nothing and at most {MAX_DAYS} days")
    return -(-seconds // 60)


def time_of(minutes: int) -> str:
    """Write minutes as SLURM reads a time limit."""
    hours, rest = divmod(minutes, 60)
    return f"{hours // 24}-{hours % 24:02d}:{rest:02d}:00"


def _size(text: str) -> int:
    """Return the length in bytes. Raises: ValueError, for half a surrogate pair."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("holds half a surrogate pair, which is no character") from None


def _must_be_text(value: Any) -> Any:
    if isinstance(value, (bool, int, float)):
        raise ValueError('must be text: put it in quotes. YAML reads a bare 12:00:00 as "43200"')
    return value


def _check_memory(text: str) -> str:
    kibibytes(text)
    return text


def _check_time(text: str) -> str:
    minutes_of(text)
    return text


_Quoted = BeforeValidator(_must_be_text)
Text = Annotated[str, _Quoted, AfterValidator(check_text)]
AbsolutePath = Annotated[str, _Quoted, AfterValidator(check_path)]
Program = Annotated[str, _Quoted, AfterValidator(check_program)]
Memory = Annotated[str, _Quoted, AfterValidator(_check_memory)]
TimeLimit = Annotated[str, _Quoted, AfterValidator(_check_time)]
Line = Annotated[str, _Quoted, AfterValidator(check_line)]
SbatchOption = Annotated[str, _Quoted, AfterValidator(check_sbatch_option)]
Variable = Annotated[str, _Quoted, AfterValidator(check_variable)]
VariableValue = Annotated[str, _Quoted, AfterValidator(check_variable_value)]
