"""The command line: parse, one call into the core, print a table or a path.

Exit codes: 0 done, 1 failed (one sentence says why), 2 wrong use.
"""

import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_cmrcnet.common.errors import Setting

OPTIONS: "dict[Setting, str]" = {
    "pixel size": "--mpp, or the column mpp of a sheet",
    "k": "--k",
    "device": "--device",
    "checkpoint": "--checkpoint",
    "spots": "--spots",
    "library": "--library, or the column library of a sheet",
    "layer": "--layer",
    "scale": "--scale",
}
"""What mends an error of the core."""


_TO_GO_ON = {
    "train": " Run the same command with --resume to continue.",
    "benchmark": " Run the same command again to continue.",
    "models": " Run the same command again to continue.",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``napari-cmrcnet`` with the given arguments (the process's own by default).

    Returns
    -------
    int
        The exit code. Wrong use leaves through argparse's own `SystemExit` with code 2.
    """
    from napari_cmrcnet.cli.parser import build_parser

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a console that lacks a letter, such as µ in cp932, shows another
            stream.reconfigure(errors="replace")
    parser = build_parser()
    options = parser.parse_args(arguments)
    # Imported after parsing, so that --help and a typing error answer at once.
    from napari_cmrcnet.cli import commands
    from napari_cmrcnet.cli.console import complain
    from napari_cmrcnet.cli.shared import WrongUseError
    from napari_cmrcnet.common.errors import NO_MEMORY, UserError, is_out_of_memory, system_error

    try:
        commands.run(options)
    except WrongUseError as error:
        parser.error(f"{options.command}: {error}")
    except UserError as error:
        complain(error.told(OPTIONS))
        return 1
    except KeyboardInterrupt:
        resume = _TO_GO_ON.get(options.command, "")
        complain(f"Stopped. No incomplete file is left.{resume}")
        return 1
    except OSError as error:
        complain(system_error(error))
        return 1
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        complain(NO_MEMORY)
        return 1
    return 0
