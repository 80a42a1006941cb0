"""Options that several commands have, and what parses them."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

SHEET = "CSV file with a section per row and the columns section,slide,spots,patient"
TO_POOL = (
    "pool cells or bins into spots. UM: squares of this many µm; 55/100 hex or visium: circles of 55 µm, 100 µm apart; "
    "no: do not pool (default: 55 for cells and for bins below 30 µm)"
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
    "export": "napari-cmrcnet export S4_predicted.h5ad --out S4.csv\n"
    "  napari-cmrcnet export S4_predicted.h5ad --out S4.zip",
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
    """Add a command, with its summary and its example if it has one of its own."""
    return commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n  {EXAMPLES[name]}" if name in EXAMPLES else None,
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


SHARED: dict[str, dict[str, Any]] = {
    "--patch-px": {
        "type": positive_int,
        "default": 224,
        "metavar": "N",
        "help": "side of a patch in pixels; a vision transformer needs a multiple of 7 or 32 (default: 224)",
    },
    "--model-mpp": {
        "type": positive_float,
        "default": 0.5,
        "metavar": "MPP",
        "help": "pixel size of the patches, in µm per pixel (default: 0.5)",
    },
    "--min-umi": {"type": int, "default": 0, "metavar": "N", "help": "leave out spots with fewer counts (default: 0)"},
    "--batch-size": {"type": positive_int, "default": 64, "metavar": "N", "help": "patches per batch (default: 64)"},
    "--precision": {
        "choices": ["auto", "fp32", "bf16"],
        "default": "auto",
        "help": "numerical precision. auto: bf16 on a GPU that supports it, otherwise fp32 (default: auto)",
    },
    "--device": {"default": "auto", "help": "where to compute: auto, cpu, cuda, cuda:1 or mps (default: auto)"},
    "--scheduler": {"metavar": "ADDRESS", "help": "address of a dask.distributed scheduler, to use its workers"},
    "--sets": {
        "choices": ["paper", "all"],
        "default": "paper",
        "help": "genes among which HEG and HVG are ranked. paper: the highly variable genes of the training sections; "
        "all: all genes (default: paper)",
    },
    "--score-min-umi": {
        "type": int,
        "metavar": "N",
        "help": "leave spots with fewer counts out of the scores; maps still show them (default: 100; 10 if fewer than "
        "1,000 genes were measured)",
    },
    "--nan-as-zero": {"action": "store_true", "help": "count an undefined PCC as 0, as published tables do"},
    "--checkpoint": {"type": Path, "metavar": "M.cmrcnet", "help": "where the checkpoint is now, if it has moved"},
    "--json": {
        "action": "store_true",
        "help": "print the result as JSON on standard output; messages go to standard error",
    },
}
"""What an option is that several commands have; ``--checkpoint`` of predictions that were made before."""


def share(parser: "argparse._ActionsContainer", *names: str) -> None:
    """Add options of `SHARED` to a command."""
    for name in names:
        parser.add_argument(name, **SHARED[name])
