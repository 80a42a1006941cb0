"""The options of the paper's experiments."""

import argparse
from pathlib import Path

from napari_cmrcnet.benchmark.method_names import METHOD_NAMES
from napari_cmrcnet.cli import options
from napari_cmrcnet.cli.options import positive_int


def add_benchmark(commands: "options.Commands") -> None:
    """Add ``benchmark``."""
    parser = options.add_command(
        commands, "benchmark", "compare CMRCNet with other methods, with the paper's tables and figures"
    )
    parser.add_argument(
        "dataset",
        metavar="SHEET|DATASET",
        help=f"{options.SHEET}; or the name of one of the paper's datasets",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for results, tables and figures")
    parser.add_argument(
        "--methods",
        type=_names,
        default=(),
        metavar="A,B",
        help=f"methods to compare: {', '.join(METHOD_NAMES)} (default: all that need no weights file). Write "
        "METHOD@ENCODER to run bleep, stnet, stnet-adam, eggn, frozen or cmrcnet-frozen on that frozen encoder",
    )
    parser.add_argument(
        "--folds",
        choices=["sample", "patient"],
        default="sample",
        help="what each fold leaves out. sample: one section, as in the paper; patient: all sections of one patient "
        "(default: sample)",
    )
    parser.add_argument(
        "--seeds",
        type=positive_int,
        default=1,
        metavar="N",
        help="number of runs of each method, each with its own seed (default: 1)",
    )
    parser.add_argument(
        "--epochs", type=positive_int, metavar="N", help="number of epochs of every method (default: as published)"
    )
    parser.add_argument("--ablation", action="store_true", help="also vary CMRCNet's losses, mask rates and targets")
    parser.add_argument(
        "--weights",
        type=_weights,
        nargs="+",
        default=(),
        metavar="[METHOD=]FILE",
        help="weights file of an encoder; without METHOD, every method whose encoder needs one uses it",
    )
    parser.add_argument(
        "--external",
        type=_external,
        nargs="+",
        default=(),
        metavar="NAME=DIR",
        help="also score the predictions of another tool: a folder with one table per section (SECTION.h5ad, .csv, "
        ".tsv or .parquet)",
    )
    options.share(parser, "--sets", "--score-min-umi", "--nan-as-zero")
    parser.add_argument("--no-figures", dest="figures", action="store_false", help="write only tables and report")

    data = parser.add_argument_group("data")
    data.add_argument(
        "--data", type=Path, metavar="DIR", help="folder that download wrote (default: the name of DATASET)"
    )
    data.add_argument("--panel", metavar="NAME|FILE", help="gene panel to score (default: the dataset's)")
    options.share(data, "--min-umi")
    data.add_argument("--all-spots", action="store_true", help="keep spots outside the tissue (for a DATASET only)")
    options.share(data, "--patch-px", "--model-mpp")

    model = parser.add_argument_group("CMRCNet")
    model.add_argument(
        "--preset", choices=["paper", "small", "tiny"], default="small", help="size of the network (default: small)"
    )
    model.add_argument(
        "--variant",
        choices=["paper", "released"],
        default="paper",
        help="follow the equations of the paper, or its published code (default: paper)",
    )

    where = parser.add_argument_group("computing")
    where.add_argument("--workers", type=positive_int, metavar="N", help="number of runs at the same time (default: 1)")
    options.share(where, "--scheduler", "--device")


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise argparse.ArgumentTypeError("name at least one method")
    return names


def _weights(text: str) -> tuple[str, Path]:
    method, found, path = text.partition("=")
    return (method, Path(path)) if found and method.partition("@")[0] in METHOD_NAMES else ("", Path(text))


def _external(text: str) -> tuple[str, Path]:
    name, found, path = text.partition("=")
    if not name or not found or not path:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=DIR")
    return name, Path(path)


def add_download(commands: "options.Commands") -> None:
    """Add ``download``."""
    parser = options.add_command(commands, "download", "download one of the paper's datasets from HEST")
    parser.add_argument("dataset", metavar="DATASET", help="one of idc_lymphnode, skcm, read, coad, idc, psc")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write to (default: the name of DATASET)")
