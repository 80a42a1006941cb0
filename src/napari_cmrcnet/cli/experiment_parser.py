"""The options of the paper's experiments."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cmrcnet.cli.parser import add_command, add_device, add_patches, positive_int

if TYPE_CHECKING:
    from napari_cmrcnet.cli.parser import Commands


METHOD_NAMES = (
    "cmrcnet",
    "cmrcnet-tuned",
    "cmrcnet-frozen",
    "mean",
    "ridge",
    "nearest",
    "depth",
    "ceiling",
    "frozen",
    "stnet",
    "stnet-adam",
    "histogene",
    "bleep",
    "ctranspath",
    "eggn",
    "thitogene",
)
"""As `known_methods` has them: written here for a help that imports none of them."""


def add_benchmark(commands: "Commands") -> None:
    """Add ``benchmark``."""
    parser = add_command(commands, "benchmark", "compare CMRCNet with other methods: the paper's tables and figures")
    parser.add_argument(
        "dataset", metavar="SHEET|DATASET", help="CSV: section,slide,spots,patient; or one of the paper's datasets"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for results, tables, figures")
    parser.add_argument(
        "--methods",
        type=_names,
        default=(),
        metavar="A,B",
        help=f"of {', '.join(METHOD_NAMES)} (all that need no weights)",
    )
    parser.add_argument(
        "--folds",
        choices=["sample", "patient"],
        default="sample",
        help="leave out a section in turn, as the paper does, or a patient (sample)",
    )
    parser.add_argument("--seeds", type=positive_int, default=1, metavar="N", help="runs of each method (1)")
    parser.add_argument("--epochs", type=positive_int, metavar="N", help="of every method (each its published number)")
    parser.add_argument("--ablation", action="store_true", help="CMRCNet's losses, mask rates and targets, too")
    parser.add_argument(
        "--weights",
        type=_weights,
        nargs="+",
        default=(),
        metavar="[METHOD=]FILE",
        help="local weights of an encoder; without METHOD, of those that cannot do without",
    )
    parser.add_argument(
        "--sets",
        choices=["paper", "all"],
        default="paper",
        help="rank HEG and HVG among the training sections' variable genes, or among all that are predicted (paper)",
    )
    parser.add_argument(
        "--score-min-umi",
        type=int,
        metavar="N",
        help="spots with fewer counts do not count in scores (100; 10 for panels under 1,000 genes)",
    )
    parser.add_argument("--nan-as-zero", action="store_true", help="count undefined PCC as 0, as published tables do")
    parser.add_argument("--no-figures", dest="figures", action="store_false", help="write tables and report alone")

    data = parser.add_argument_group("data")
    data.add_argument("--data", type=Path, metavar="DIR", help="where 'download' put the DATASET (its name)")
    data.add_argument("--panel", metavar="NAME|FILE", help="marker genes (the dataset's)")
    data.add_argument("--min-umi", type=int, default=0, metavar="N", help="leave out spots with fewer counts (0)")
    data.add_argument("--all-spots", action="store_true", help="keep spots of a DATASET that are off the tissue")
    add_patches(data)

    model = parser.add_argument_group("CMRCNet")
    model.add_argument("--preset", choices=["paper", "small", "tiny"], default="small", help="its size (small)")
    model.add_argument("--variant", choices=["paper", "released"], default="paper", help="whose equations (paper)")
    model.add_argument("--keep-checkpoints", dest="keep", action="store_true", help="keep the checkpoint of every fold")

    where = parser.add_argument_group("where it runs")
    where.add_argument("--workers", type=positive_int, default=1, metavar="N", help="folds and methods at once (1)")
    where.add_argument("--scheduler", metavar="ADDRESS", help="a dask.distributed scheduler to run on")
    add_device(where)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise argparse.ArgumentTypeError("name at least one method")
    return names


def _weights(text: str) -> tuple[str, Path]:
    method, found, path = text.partition("=")
    return (method, Path(path)) if found and method in METHOD_NAMES else ("", Path(text))


def add_download(commands: "Commands") -> None:
    """Add ``download``."""
    parser = add_command(commands, "download", "download one of the paper's datasets from HEST")
    parser.add_argument("dataset", metavar="DATASET", help="idc_lymphnode, skcm, read, coad, idc or psc")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to put it in (its name)")
