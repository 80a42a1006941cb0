"""What the panels remember from one day to the next: the last files, folders and settings of the form."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import platformdirs
from qtpy.QtCore import QSettings

T = TypeVar("T", str, int, float, bool)


def recall(key: str, default: T) -> T:
    """Return what was remembered under a key; the default where nothing was, or something of another kind."""
    try:
        kept: T = _kept().value(key, default, type=type(default))
    except TypeError:
        return default
    return kept


def remember(values: Mapping[str, str | int | float | bool]) -> None:
    """Keep values by their keys. Where the file cannot be written, they are forgotten: no error worth a message."""
    kept = _kept()
    for key, value in values.items():
        if recall(key, value) != value or not kept.contains(key):  # type: ignore[type-var]
            kept.setValue(key, value)


def _kept() -> QSettings:
    """Return what is kept; ``CMRCNET_CONFIG`` names another folder than the system's own for settings."""
    folder = os.environ.get("CMRCNET_CONFIG") or platformdirs.user_config_dir("napari-cmrcnet", appauthor=False)
    return QSettings(str(Path(folder) / "panels.ini"), QSettings.Format.IniFormat)
