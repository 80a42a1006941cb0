"""What several commands need."""

import argparse
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from napari_cmrcnet.cli.console import say, warn
from napari_cmrcnet.common.text import count_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from napari_cmrcnet.retrieval.genes import GeneNames
    from napari_cmrcnet.sections.panels import Panel
    from napari_cmrcnet.sections.section import Section


ConfigT = TypeVar("ConfigT", bound="DataclassInstance")


class WrongUseError(Exception):
    """The options do not fit together; shown with the command's usage, exit code 2."""


def config_from(options: argparse.Namespace, kind: type[ConfigT], **given: Any) -> ConfigT:
    """Make a configuration from the options that are called as its fields, and what is given in place of an option.

    Raises
    ------
    UserError
        If the configuration refuses a value.
    """
    named = {field.name: getattr(options, field.name) for field in fields(kind) if hasattr(options, field.name)}
    return kind(**{**named, **given})


def introduce(section: "Section") -> None:
    """Print what a section is, and its notes."""
    genes = f", {count_text(section.spots.n_vars, 'gene')}" if section.measured else ""
    spots = f"{count_text(section.spots.n_obs, 'spot')}{genes}"
    say(f"{section.name}: {spots}, {section.mpp:.4g} µm/px from {section.pixel_size.source}")
    for note in section.notes:
        warn(f"{section.name}: {note}")


def check_panel(names: "GeneNames", panel: "Panel | None", where: str) -> None:
    """Warn of the genes of a panel that are not there, and say which are taken by another name.

    Raises
    ------
    UserError
        If none is there.
    """
    for sentence in names.check_panel(panel, where):
        warn(sentence)


def panel_named(name: str | None) -> "Panel | None":
    """Return the panel of a name or file; None for no name."""
    if name is None:
        return None
    from napari_cmrcnet.sections.panels import load_panel

    return load_panel(name)
