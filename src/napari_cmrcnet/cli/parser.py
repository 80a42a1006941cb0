"""The options of each command, with an example in each ``--help``. Those of `train` are in `train_parser`."""

import argparse
from pathlib import Path

from napari_cmrcnet.cli import options
from napari_cmrcnet.cli.options import positive_float, positive_int

SCALES = ("log", "normalised", "counts")  # those of `external`, which --help does not load
OF_HD = "for Visium HD: the size of the bins in µm, such as 8, or cells (default: 16)"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``napari-cmrcnet``."""
    from napari_cmrcnet.cli.experiment_parser import add_benchmark, add_download
    from napari_cmrcnet.cli.train_parser import add_train

    parser = argparse.ArgumentParser(
        prog="napari-cmrcnet",
        description="Predict spatial gene expression from H&E slides by cross-modal retrieval. For research use only.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_simulate(commands)
    _add_info(commands)
    add_train(commands)
    add_models(commands)
    _add_predict(commands)
    _add_evaluate(commands)
    add_report(commands)
    add_figure(commands)
    add_export(commands)
    add_benchmark(commands)
    add_download(commands)
    _add_demo(commands)
    return parser


class _Version(argparse.Action):
    """Look the version up only when it is asked for: reading package metadata costs time."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from napari_cmrcnet import __version__

        parser.exit(message=f"napari-cmrcnet {__version__}\n")


def _add_simulate(commands: "options.Commands") -> None:
    parser = options.add_command(
        commands, "simulate", "make synthetic H&E sections with spots and counts, and a sheet that lists them"
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder to write to")
    parser.add_argument("--sections", type=positive_int, default=4, metavar="N", help="number of sections (default: 4)")
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed: the same seed makes the same sections (default: 0)"
    )


def _add_info(commands: "options.Commands") -> None:
    parser = options.add_command(
        commands, "info", "describe a slide, spots file, checkpoint or prediction, and report what is wrong with it"
    )
    parser.add_argument(
        "path", type=Path, nargs="?", metavar="PATH", help="file or folder (default: list the installed versions)"
    )
    parser.add_argument("--library", metavar="NAME", help=f"which section to read, if PATH holds several; {OF_HD}")
    options.share(parser, "--json")


def _add_predict(commands: "options.Commands") -> None:
    parser = options.add_command(
        commands, "predict", "predict expression at the spots of one slide, or of every slide in a sheet"
    )
    parser.add_argument("sheet", type=Path, nargs="?", metavar="SHEET", help=options.SHEET)
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="M.cmrcnet|NAME",
        help="trained model: a checkpoint, the name of one of your models, or the folder of the weights of Path2Space, "
        "STPath or DeepSpot-M (required)",
    )
    parser.add_argument("--slide", type=Path, metavar="S", help="slide to predict, instead of a sheet")
    parser.add_argument("--spots", type=Path, metavar="P", help="spots of the slide (default: a grid over the tissue)")
    parser.add_argument("--library", metavar="NAME", help=f"which section to read, if P holds several; {OF_HD}")
    parser.add_argument("--pool", metavar="UM", help=options.TO_POOL)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="P.h5ad|DIR",
        help="folder to write to; for one slide, also a file (default: S_predicted.h5ad; for a sheet: predictions)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing prediction (with --slide only)")
    parser.add_argument(
        "--k",
        type=positive_int,
        metavar="N",
        help="training spots averaged for each value (default: set by the checkpoint)",
    )
    parser.add_argument("--panel", metavar="NAME|FILE", help="gene panel to store (default: the checkpoint's)")
    parser.add_argument("--patient", metavar="ID", help="patient ID (default: from the spots file)")
    parser.add_argument(
        "--mpp", type=positive_float, metavar="MPP", help="pixel size of the slide in µm/px (default: from the files)"
    )
    parser.add_argument(
        "--pitch", type=positive_float, metavar="UM", help="distance between the spots of the grid in µm (default: 100)"
    )
    parser.add_argument("--lattice", choices=["hex", "square"], help="shape of the grid (default: hex)")
    options.share(parser, "--min-umi")
    parser.add_argument(
        "--workers", type=positive_int, metavar="N", help="number of slides predicted at the same time (default: 1)"
    )
    options.share(parser, "--scheduler", "--batch-size", "--precision", "--device", "--json")


def _add_evaluate(commands: "options.Commands") -> None:
    parser = options.add_command(
        commands, "evaluate", "score predictions against the measured expression, with figures"
    )
    parser.add_argument(
        "predictions",
        type=Path,
        nargs="+",
        metavar="PREDICTION",
        help="files that predict wrote; or one table of another tool, spots × genes (h5ad, zarr, CSV or parquet)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for scores and figures (those of the same names are replaced)",
    )
    parser.add_argument(
        "--spots",
        type=Path,
        metavar="P",
        help="measured spots for the table of another tool (default: the counts in the same file)",
    )
    parser.add_argument(
        "--layer", metavar="NAME", help="matrix to read from another tool's h5ad: X, or a name in layers or obsm"
    )
    parser.add_argument(
        "--scale",
        choices=SCALES,
        help="what the values of another tool are. log: log-normalised; normalised: normalised, without the logarithm; "
        "counts: not normalised (default: log, if the values allow it)",
    )
    parser.add_argument("--panel", metavar="NAME|FILE", help="gene panel to score (default: the prediction's)")
    options.share(parser, "--checkpoint", "--sets", "--score-min-umi", "--nan-as-zero")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the bootstrap (default: 0)")
    options.share(parser, "--json")


def _add_demo(commands: "options.Commands") -> None:
    parser = options.add_command(commands, "demo", "predict and score the synthetic sample, with figures")
    parser.add_argument(
        "--out", type=Path, default=Path("demo_output"), metavar="DIR", help="folder to write to (default: demo_output)"
    )


def add_models(commands: "options.Commands") -> None:
    """Add ``models`` and what can be done with them."""
    parser = options.add_command(commands, "models", "list your models and those you can get; build, pack or add one")
    options.share(parser, "--json")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions (without one: the list)")

    build = options.add_command(
        actions, "build", "build a model from public data; run it again to continue after a stop"
    )
    build.add_argument("name", metavar="NAME", help="name of the model, as the list shows it")
    build.add_argument(
        "--out",
        type=Path,
        metavar="M.cmrcnet",
        help="checkpoint to write (default: NAME.cmrcnet in the folder of your models)",
    )
    options.share(build, "--device")

    pack = options.add_command(actions, "pack", "pack a model into one file to share, and print its checksum")
    pack.add_argument(
        "checkpoint", type=Path, metavar="M.cmrcnet|NAME", help="checkpoint, or the name of one of your models"
    )
    pack.add_argument("--out", type=Path, required=True, metavar="M.cmrcnet.zip", help="file to write")
    pack.add_argument("--no-thumbnails", action="store_true", help="leave out the small images of the patients' tissue")
    pack.add_argument(
        "--index", type=Path, metavar="I.json", help="index of models to add it to, in the folder of the file"
    )
    pack.add_argument("--licence", default="", metavar="TEXT", help="licence of the model, for the index")
    pack.add_argument("--about", default="", metavar="TEXT", help="what the model is for, for the index")

    add = options.add_command(actions, "add", "add a packed model to yours, from a file, a web address or an index")
    add.add_argument(
        "place", metavar="FILE|URL", help="packed model, or index of models (.json): a file or a web address"
    )
    add.add_argument(
        "--name", default="", help="which model of an index; or what to call a packed model (default: its own name)"
    )
    add.add_argument("--sha256", default="", metavar="HEX", help="SHA-256 checksum that the file must have")


def add_report(commands: "options.Commands") -> None:
    """Add the options of ``report``."""
    parser = options.add_command(commands, "report", "write a report of one or several predictions, to read or print")
    parser.add_argument("predictions", type=Path, nargs="+", metavar="P.h5ad", help="files that predict wrote")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="R.html",
        help="report to write: .html or .pdf (an existing one is replaced)",
    )
    parser.add_argument("--panel", metavar="NAME|FILE", help="gene panel to show (default: the prediction's)")
    options.share(parser, "--checkpoint", "--json")


def add_export(commands: "options.Commands") -> None:
    """Add the options of ``export``."""
    parser = options.add_command(
        commands, "export", "write a prediction for other programs, or everything as one ZIP file"
    )
    parser.add_argument("prediction", type=Path, metavar="P.h5ad", help="file that predict wrote")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="file to write: .csv, .h5ad (scanpy), .geojson (QuPath), or .zip (everything, with figure and report); an "
        "existing one is replaced",
    )
    options.share(parser, "--checkpoint", "--json")


def add_figure(commands: "options.Commands") -> None:
    """Add the options of ``figure``."""
    parser = options.add_command(commands, "figure", "draw maps of a gene panel for print, measured over predicted")
    parser.add_argument("prediction", type=Path, metavar="P.h5ad", help="file that predict wrote")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="F.pdf",
        help="picture to write: .pdf, .svg or .png (an existing one is replaced)",
    )
    genes = parser.add_mutually_exclusive_group()
    genes.add_argument("--blend", metavar="G1,G2[,G3]", help="two or three genes to draw as colours on one map")
    genes.add_argument(
        "--panel", metavar="NAME|FILE", help="gene panel to draw, up to 12 genes (default: the prediction's)"
    )
    parser.add_argument(
        "--width-mm",
        type=positive_float,
        metavar="MM",
        help="width of the picture in mm (default: 180; 90 for two genes)",
    )
    options.share(parser, "--checkpoint", "--json")
