"""Options that several commands have, and what parses them."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

TO_POOL = (
    "pool cells or bins in squares of so many µm; 55/100 hex or visium: circles of 55 µm, 100 µm apart; no: take each "
    "(default: 55 for cells and bins below 30 µm)"
)

EXAMPLES = {
    "simulate": "napari-cmrcnet simulate synthetic --sections 4 --seed 0",
    "info": "napari-cmrcnet info slide.svs",
    "train": "napari-cmrcnet train sections.csv --without S4 --out model.cmrcnet --panel idc",
    "predict": "napari-cmrcnet predict --checkpoint model.cmrcnet --slide S4.tif --spots S4.h5ad\n"
    "  napari-cmrcnet predict sections.csv --checkpoint model.cmrcnet --out predictions --workers 2",
    "evaluate": "napari-cmrcnet evaluate S4_predicted.h5ad --panel idc --out scores",
    "report": "napari-cmrcnet report predictions/*.h5ad --panel idc --out cohort.html",
    "figure": "napari-cmrcnet figure S4_predicted.h5ad --panel idc --width-mm 170 --out S4_idc.pdf",
    "benchmark": "napari-cmrcnet benchmark sections.csv --methods cmrcnet,ridge --panel idc --out benchmark\n"
    "  napari-cmrcnet benchmark read --folds patient --seeds 3 --out read_benchmark",
    "download": "napari-cmrcnet download read",
    "models": "napari-cmrcnet models\n"
    "  napari-cmrcnet models build her2st\n"
    "  napari-cmrcnet models pack her2st --out her2st.cmrcnet.zip\n"
    "  napari-cmrcnet models add her2st.cmrcnet.zip",
    "demo": "napari-cmrcnet demo --out demo_output",
}


def add_command(commands: "Commands", name: str, summary: str) -> argparse.ArgumentParser:
    """Add a command, with its summary and its example."""
    return commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n  {EXAMPLES[name]}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def positive_int(text: str) -> int:
    """Parse a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return value


def positive_float(text: str) -> float:
    """Parse a finite number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def add_patches(parser: "argparse._ActionsContainer") -> None:
    """Add ``--patch-px`` and ``--model-mpp``."""
    parser.add_argument(
        "--patch-px",
        type=positive_int,
        default=224,
        metavar="N",
        help="side of a patch in pixels; a vision transformer needs a multiple of 7 or 32 (default: 224)",
    )
    parser.add_argument(
        "--model-mpp",
        type=positive_float,
        default=0.5,
        metavar="MPP",
        help="pixel size of the patches, in µm per pixel (default: 0.5)",
    )


def add_device(parser: "argparse._ActionsContainer") -> None:
    """Add ``--device``."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps (default: auto)")


def add_json(parser: "argparse._ActionsContainer") -> None:
    """Add ``--json``."""
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the result as JSON on standard output, and messages on standard error",
    )
