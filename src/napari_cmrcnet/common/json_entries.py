"""Entries of a JSON object from outside: each is of the kind asked for, or refused by its name.

The messages are the second half of a sentence; who reads the file puts its path before them.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

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
        The dataclass. Its fields are whole numbers, numbers, flags, texts, tuples of texts, three numbers, mappings, or
        one of these or None.
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
    types, entries = get_type_hints(kind), Entries(values)

    def read(name: str, value: Any) -> Any:
        if name not in own:
            return entries.of(name, types[name])
        return own[name](value if value is None or not _is_object(types[name]) else entries.mapping(name))

    return kind(**{name: read(name, value) for name, value in values.items()})


def _is_object(kind: Any) -> bool:
    inner = get_args(kind)[0] if get_origin(kind) is UnionType else kind
    return is_dataclass(inner) or get_origin(inner) is Mapping


class Entries:
    """Entries of a JSON object, each of the kind asked for or refused by name."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def _entry(self, name: str, kind: type | tuple[type, ...], said: str) -> Any:
        value = self.values[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise UserError(f"has {name}: {json.dumps(value)[:50]}, which is not {said}")
        return value

    def of(self, name: str, kind: Any) -> Any:
        """Return an entry of the type of a field, see `read_entries`."""
        if get_origin(kind) is UnionType:  # or None
            return None if self.values[name] is None else self.of(name, get_args(kind)[0])
        if get_origin(kind) is tuple:
            return self.texts(name) if get_args(kind)[0] is str else self.colours(name)
        if get_origin(kind) is Mapping:
            entries = Entries(self.mapping(name))
            return {str(key): entries.of(key, get_args(kind)[1]) for key in entries.values}
        if is_dataclass(kind):
            return read_entries(kind, self.mapping(name))  # type: ignore[arg-type]
        return {int: self.whole, float: self.number, bool: self.flag, str: self.text}[kind](name)

    def whole(self, name: str) -> int:
        """Return a whole number."""
        return int(self._entry(name, int, "a whole number"))

    def number(self, name: str) -> float:
        """Return a finite number."""
        value = float(self._entry(name, (int, float), "a number"))
        if not math.isfinite(value):
            raise UserError(f"has {name}: {value}, which is not finite")
        return value

    def flag(self, name: str) -> bool:
        """Return true or false."""
        return bool(self._entry(name, bool, "true or false"))

    def text(self, name: str) -> str:
        """Return a text."""
        return str(self._entry(name, str, "text"))

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts."""
        values = self._entry(name, list, "a list of texts")
        if not all(isinstance(value, str) for value in values):
            raise UserError(f"has {name} with something that is not text")
        return tuple(values)

    def mapping(self, name: str) -> Mapping[str, Any]:
        """Return an object."""
        value: Mapping[str, Any] = self._entry(name, dict, "an object")
        return value

    def colours(self, name: str) -> tuple[float, float, float]:
        """Return three finite numbers."""
        values = self._entry(name, list, "three numbers")
        if len(values) != 3 or not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
            raise UserError(f"has {name}: {json.dumps(values)[:50]}, which is not three numbers")
        return float(values[0]), float(values[1]), float(values[2])
