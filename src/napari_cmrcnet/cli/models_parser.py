"""The options of ``models``: to list, build, pack and add models."""

import argparse
from pathlib import Path

from napari_cmrcnet.cli import options


def add_models(commands: "options.Commands") -> None:
    """Add ``models`` and what can be done with them."""
    parser = options.add_command(commands, "models", "list the models that can be had; build, pack or add one")
    options.add_json(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions (without one: the list)")

    build = _action(actions, "build", "build a model from public data; the same command goes on after a stop")
    build.add_argument("name", metavar="NAME", help="of the list")
    build.add_argument(
        "--out", type=Path, metavar="M.cmrcnet", help="checkpoint to write (NAME in the folder of your models)"
    )
    options.add_device(build)

    pack = _action(actions, "pack", "write a model as one file with a checksum, to pass on")
    pack.add_argument("checkpoint", type=Path, metavar="M.cmrcnet|NAME", help="a checkpoint, or the name of your model")
    pack.add_argument("--out", type=Path, required=True, metavar="M.cmrcnet.zip", help="file to write")
    pack.add_argument("--no-thumbnails", action="store_true", help="leave out the pictures of the patients' tissue")
    pack.add_argument("--index", type=Path, metavar="I.json", help="an index beside the file, which is to list it, too")
    pack.add_argument("--licence", default="", metavar="TEXT", help="for the index")
    pack.add_argument("--about", default="", metavar="TEXT", help="for the index: what the model is of")

    add = _action(actions, "add", "add a model of a file, an address or an index to yours")
    add.add_argument("place", metavar="FILE|URL", help="a packed model, or an index (.json) of some; on disk or a site")
    add.add_argument("--name", default="", help="of an index: which model; of a file: what to call it (its own name)")
    add.add_argument(
        "--sha256", default="", metavar="HEX", help="checksum that the file must have, where one was given"
    )


def _action(actions: "options.Commands", name: str, summary: str) -> argparse.ArgumentParser:
    return actions.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
