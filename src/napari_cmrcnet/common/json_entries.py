"""Entries of a JSON object from outside: each is of the kind asked for, or refused by its name.

The messages are the second half of a sentence; who reads the file puts its path before them.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from napari_cmrcnet.common.errors import UserError


def check_names(values: Mapping[str, Any], kind: type) -> None:
    """Refuse entries that a dataclass does not have, and those that it lacks."""
    known = {entry.name for entry in fields(kind)}
    if unknown := sorted(set(values) - known):
        raise UserError(f"has an unknown entry {unknown[0]!r}")
    if missing := sorted(known - set(values)):
        raise UserError(f"lacks the entry {missing[0]!r}")


T = TypeVar("T")


def read_entries(kind: type[T], values: Mapping[str, Any], **own: Callable[[Any], Any]) -> T:
    """Make a dataclass from what JSON has of it: every entry is there, and of the type of its field.

    Parameters
    ----------
    kind : type
        The dataclass. Its fields are whole numbers, numbers, flags, texts, one of a few texts, tuples of texts, three
        numbers, mappings, or one of these or None.
    values : mapping
        The JSON object.
    own : callable
        By name of a field that is more than that: reads its entry, an object where the field is one, or null.

    Raises
    ------
    UserError
        If an entry is missing, unknown or of the wrong kind.
    """
    if not isinstance(values, Mapping):
        raise UserError("holds something that is no object")
    check_names(values, kind)
    types = get_type_hints(kind)

    def read(name: str, value: Any) -> Any:
        if name not in own:
            return read_entry(values, name, types[name])
        return own[name](value if value is None or not _is_object(types[name]) else read_entry(values, name, dict))

    return kind(**{name: read(name, value) for name, value in values.items()})


def _is_object(kind: Any) -> bool:
    inner = get_args(kind)[0] if get_origin(kind) is UnionType else kind
    return is_dataclass(inner) or get_origin(inner) is Mapping


_KINDS: Mapping[Any, tuple[Any, str]] = {
    int: (int, "a whole number"),
    float: ((int, float), "a number"),
    bool: (bool, "true or false"),
    str: (str, "text"),
    dict: (dict, "an object"),
}


def read_entry(values: Mapping[str, Any], name: str, kind: Any) -> Any:
    """Return an entry of the type of a field, see `read_entries`; of ``dict`` any object.

    Raises
    ------
    UserError
        If it is of another kind.
    """
    value = values[name]
    if get_origin(kind) is UnionType:  # or None
        return None if value is None else read_entry(values, name, get_args(kind)[0])
    if get_origin(kind) is Literal:
        if value not in (texts := get_args(kind)):
            raise UserError(f"has {name}: {json.dumps(value)[:50]}, which is not {' or '.join(map(json.dumps, texts))}")
        return value
    if get_origin(kind) is tuple:
        return _texts(name, value) if get_args(kind)[0] is str else _colours(name, value)
    if get_origin(kind) is Mapping:
        entries = read_entry(values, name, dict)
        return {str(key): read_entry(entries, key, get_args(kind)[1]) for key in entries}
    if is_dataclass(kind):
        return read_entries(kind, read_entry(values, name, dict))  # type: ignore[arg-type]
    accepted, said = _KINDS[kind]
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise UserError(f"has {name}: {json.dumps(value)[:50]}, which is not {said}")
    if kind is float and not math.isfinite(value):
        raise UserError(f"has {name}: {float(value)}, which is not finite")
    return kind(value)


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise UserError(f"has {name}: {json.dumps(value)[:50]}, which is not a list of texts")
    if not all(isinstance(each, str) for each in value):
        raise UserError(f"has {name} with something that is not text")
    return tuple(value)


def _colours(name: str, value: Any) -> tuple[float, ...]:
    known = isinstance(value, list) and len(value) == 3
    if not known or not all(isinstance(each, int | float) and math.isfinite(each) for each in value):
        raise UserError(f"has {name}: {json.dumps(value)[:50]}, which is not three numbers")
    return tuple(map(float, value))
