"""The options of ``models``: to list, build, pack and add models."""

from typing import TYPE_CHECKING

from napari_cmrcnet.cli.parser import add_command, add_json

if TYPE_CHECKING:
    from napari_cmrcnet.cli.parser import Commands


def add_models(commands: "Commands") -> None:
    """Add ``models``."""
    parser = add_command(commands, "models", "list the models that can be had")
    add_json(parser)
