"""Entries of a JSON object from outside: each is of the kind asked for, or refused by its name.

The messages are the second half of a sentence; who reads the file puts its path before them.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from napari_cmrcnet.common.errors import UserError


def check_names(values: Mapping[str, Any], kind: type) -> None:
    """Refuse entries that a dataclass does not have, and those that it lacks."""
    known = {entry.name for entry in fields(kind)}
    if unknown := sorted(set(values) - known):
        raise UserError(f"has an unknown entry {unknown[0]!r}")
    if missing := sorted(known - set(values)):
        raise UserError(f"lacks the entry {missing[0]!r}")


class Entries:
    """Entries of a JSON object, each of the kind asked for or refused by name."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def _entry(self, name: str, kind: type | tuple[type, ...], said: str) -> Any:
        value = self.values[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise UserError(f"has {name}: {json.dumps(value)[:50]}, which is not {said}")
        return value

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

    def text_mapping(self, name: str) -> dict[str, str]:
        """Return an object of texts."""
        values = self.mapping(name)
        if not all(isinstance(value, str) for value in values.values()):
            raise UserError(f"has {name} with something that is not text")
        return dict(values)

    def colours(self, name: str) -> tuple[float, float, float]:
        """Return three finite numbers."""
        values = self._entry(name, list, "three numbers")
        if len(values) != 3 or not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
            raise UserError(f"has {name}: {json.dumps(values)[:50]}, which is not three numbers")
        return float(values[0]), float(values[1]), float(values[2])
