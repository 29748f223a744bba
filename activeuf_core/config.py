"""Config files as data: strict models, and errors that name file, key, value and what is allowed.

In: YAML files. Out: frozen pydantic models. Each room declares its own model in `<room>/config.py`,
beside the code that reads it; this module only knows how to check one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from activeuf_core.errors import ConfigError, choose_from

KEY_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]{0,199}")
"""Names that become partition keys and folders. No `,` (the backfill command splits on it), no `/`
or `|`.
"""


QUOTE = "'"
"""pydantic's, around the names in its errors."""


class StrictModel(BaseModel):
    """A frozen config section: an unknown key is an error, and so is a value of another type."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    not_in_recipe: ClassVar[frozenset[str]] = frozenset()
    """Settings that say how fast something runs, or how often it saves, and not what comes out."""

    @property
    def is_light(self) -> bool:
        """Whether a stage with this config only moves rows: many such units then share one
        process.
        """
        return False


class ModelRef(StrictModel):
    """A model by name; `identity` is its pinned hub revision or the digest of its folder, never its
    path.
    """

    name: str
    identity: str


class DataRef(StrictModel):
    """A data source by name; `identity` is its pinned hub revision or the digest of its files."""

    name: str
    identity: str


Section = TypeVar("Section", bound=BaseModel)


def check_key(name: str, what: str, where: Path | str) -> str:
    """Return `name` if it can be a partition key and a folder name.

    Raises: ConfigError, naming the file and the character set.
    """
    if isinstance(name, str) and KEY_PATTERN.fullmatch(name) and ".." not in name:
        return name
    raise ConfigError(
        f"{where}: {what} {name!r} cannot be a partition key. Allowed: letters, digits and . _ - "
        "= +, "
        "at most 200 characters, no '..', beginning with a letter or a digit. Rename it."
    )


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping.

    Raises: ConfigError when the file is missing, is not YAML, repeats a key, or holds something
    else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be read ({error}). Check the path and its rights."
        ) from error
    try:
        data = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader subclass
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: is not valid YAML: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path}: holds a {type(data).__name__}, expected a mapping of keys to values."
        )
    return data


def parse(model: type[Section], data: Mapping[str, Any], where: Path | str) -> Section:
    """Check `data` against `model`.

    Raises: ConfigError with one line per wrong key: where it stands, its value, and what is
    allowed.
    """
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        lines = [_explain(model, dict(item)) for item in error.errors(include_url=False)]
        raise ConfigError(f"{where}: " + f"\n{where}: ".join(lines)) from error


def unknown_keys(model: type[BaseModel], data: Mapping[str, Any]) -> list[str]:
    """Return the dotted keys of `data` that `model` does not know; other mistakes are not told."""
    try:
        model.model_validate(dict(data))
    except ValidationError as error:
        items = error.errors(include_url=False, include_context=False, include_input=False)
        return [
            ".".join(_walk(model, item["loc"])[0])
            for item in items
            if item["type"] == "extra_forbidden"
        ]
    return []


def identity_of(section: StrictModel, plain: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what distinguishes a section: required values, the names of variants, and all that is
    not a default. Of a model or data source only the identity counts, not what it is called.

    So a new setting with a default changes no fingerprint. A default that changes is a change of
    code, which the code lock catches. Args: plain: the section as JSON, where it is at hand.
    """
    return _identity(section, plain or section.model_dump(mode="json"))


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `over` on `base`: mappings are merged key by key, everything else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged


def _identity(section: StrictModel, plain: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, is_always_told, default in _settings(type(section)):
        value = getattr(section, name)
        if not is_always_told and value == default:
            continue
        if isinstance(value, (ModelRef, DataRef)):
            found[name] = value.identity
        else:
            is_section = isinstance(value, StrictModel)
            found[name] = _identity(value, plain[name]) if is_section else plain[name]
    return found


@functools.cache
def _settings(model: type[StrictModel]) -> tuple[tuple[str, bool, Any], ...]:
    """Return of every setting that is part of a recipe: its name, whether it is told although it
    has its default, and that default.
    """
    found: list[tuple[str, bool, Any]] = []
    for name, info in model.model_fields.items():
        is_variant = get_origin(info.annotation) is Literal and len(get_args(info.annotation)) == 1
        if name not in model.not_in_recipe:
            found.append((name, info.is_required() or is_variant, info.default))
    return tuple(found)


def _explain(model: type[BaseModel], item: dict[str, Any]) -> str:
    """Turn one pydantic error into a line of ours."""
    shown, parent = _walk(model, item["loc"])
    location = ".".join(shown) or "(top level)"
    if item["type"] == "extra_forbidden":
        key = str(item["loc"][-1])
        deeper = [".".join([*shown[:-1], path]) for path in _paths_of(key, parent)]
        hint = f"did you mean {' or '.join(map(repr, deeper))}? " if deeper else ""
        allowed = choose_from(key, parent.model_fields)
        return f"unknown key {location!r} (value {item['input']!r}); {hint}{allowed}."
    if item["type"] == "union_tag_invalid":
        told = item["ctx"]
        variant = f"{location}.{told['discriminator'].strip(QUOTE)}"
        allowed = choose_from(told["tag"], re.findall(r"'([^']*)'", told["expected_tags"]))
        return f"key {variant!r} has the value {told['tag']!r}; {allowed}."
    if item["type"] == "union_tag_not_found":
        variant = f"{location}.{item['ctx']['discriminator'].strip(QUOTE)}"
        return f"key {variant!r} is missing: it says which settings {location!r} takes. Add it."
    if item["type"] == "missing":
        return f"key {location!r} is missing. Add it."
    return f"key {location!r} has the value {item['input']!r}: {item['msg']}."


def _walk(model: type[BaseModel], path: tuple[Any, ...]) -> tuple[list[str], type[BaseModel]]:
    """Follow an error's path; return it as a person would write it, and the model that owns its
    last key.

    pydantic puts the name of a chosen variant into the path (`acquisition.dts.beta`), which no file
    contains.
    """
    shown: list[str] = []
    variants: list[type[BaseModel]] = []
    for part in path:
        chosen = next((v for v in variants if _variant_name(v) == part), None)
        if chosen is not None:
            model, variants = chosen, []
            continue
        shown.append(str(part))
        if part in model.model_fields:
            variants = _models_in(model.model_fields[part].annotation)
            if len(variants) == 1 and part != path[-1]:
                model, variants = variants[0], []
    return shown, model


def _paths_of(key: str, model: type[BaseModel]) -> list[str]:
    """Return where, in the sections below a model, a key stands that the model itself lacks."""
    found: dict[str, None] = {}
    for name, info in model.model_fields.items():
        for inner in _models_in(info.annotation):
            below = [key] if key in inner.model_fields else _paths_of(key, inner)
            found |= dict.fromkeys(f"{name}.{path}" for path in below)
    return list(found)


def _variant_name(model: type[BaseModel]) -> str | None:
    """Return the value of the field that tells a variant from its siblings, None for a model
    without one.
    """
    for info in model.model_fields.values():
        if get_origin(info.annotation) is Literal and len(get_args(info.annotation)) == 1:
            return str(get_args(info.annotation)[0])
    return None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the pydantic models inside an annotation such as `X | None` or `list[X]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in get_args(annotation) for found in _models_in(inner)]


_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _UniqueKeyLoader(_Loader):
    """A safe YAML loader for which a key given twice is an error (plain YAML keeps the last one).

    libyaml's loader where the wheel has it: ten times as fast, which thousands of experiment files
    feel.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping, refusing repeated keys."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (str, int, float)) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key) if isinstance(key, (str, int, float)) else None
        return super().construct_mapping(node, deep)


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings by dotted key."""
    found: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            found |= flat(inner, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = inner
    return found
