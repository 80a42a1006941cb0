"""JSON objects from outside, read into dataclasses: every entry is there, and of the type of its field.

The messages are the second half of a sentence; who reads the file puts its path before them.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, TypeVar

from napari_cmrcnet.common.errors import UserError

T = TypeVar("T")


def read_entries(kind: type[T], values: Any, may_lack: Collection[str] = ()) -> T:
    """Make a dataclass from what JSON has of it, and the dataclasses in it.

    Parameters
    ----------
    kind : type
        The dataclass. What its fields must be besides their types, it checks when it is made.
    values : mapping
        The JSON object.
    may_lack : collection of str
        Entries that older files do not have; their fields have a default.

    Raises
    ------
    UserError
        If it is not an object; if an entry is missing, unknown or of another type, or a number is not finite; or if the
        dataclass refuses what it holds.
    """
    from pydantic import ValidationError

    try:
        (found,) = _adapter(kind).validate_json(json.dumps([values]))  # type: ignore[arg-type]
    except ValidationError as error:
        raise UserError(_said(error.errors(include_url=False)[0], values)) from error
    except UserError as error:
        raise UserError(f"holds what cannot be: {str(error).removesuffix('.')}") from error
    except RecursionError as error:
        raise UserError("is nested too deeply") from error
    _check_whole(found, values, may_lack)
    return found  # type: ignore[no-any-return]


@cache
def _adapter(kind: type) -> Any:
    from pydantic import ConfigDict, TypeAdapter  # which --help does not need

    # In a list, as a dataclass takes settings only from what it is in.
    return TypeAdapter(list[kind], config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))  # type: ignore[valid-type]


def _said(problem: Mapping[str, Any], values: Any) -> str:
    """Say what is wrong with an entry, which is named by its way from the outermost object.

    pydantic's own way has more: of a field of several types, the type that was tried.
    """
    way: list[str] = []
    tried = problem["loc"][1:]
    for place, part in enumerate(tried, start=1):
        try:
            values = values[part]
        except (LookupError, TypeError):
            if problem["type"] != "missing" or place < len(tried):
                continue
        way.append(str(part))
    name = ".".join(way)
    if problem["type"] == "json_invalid":  # deeper than it reads, or half a surrogate pair in a text
        return f"cannot be read ({problem['msg']})"
    if not name:
        return "is not an object"
    if problem["type"] == "missing":
        return f"lacks the entry {name!r}"
    if problem["type"] == "unexpected_keyword_argument":
        return f"has an unknown entry {name!r}, perhaps of a newer version of napari-cmrcnet"
    return f"has {name}: {json.dumps(problem['input'])[:50]}, {problem['msg'].replace('Input', 'which')}"


def _check_whole(found: Any, values: Any, may_lack: Collection[str], way: str = "") -> None:
    """Refuse what leaves an entry to its default: a model would then predict otherwise than it was made to."""
    for entry in fields(found) if is_dataclass(found) else ():
        if entry.name in values:
            _check_whole(getattr(found, entry.name), values[entry.name], may_lack, f"{way}{entry.name}.")
        elif entry.name not in may_lack:
            raise UserError(f"lacks the entry {way + entry.name!r}")
