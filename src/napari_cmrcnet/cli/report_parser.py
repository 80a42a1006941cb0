"""The options of ``report``, ``figure`` and ``export``."""

from pathlib import Path

from napari_cmrcnet.cli import options
from napari_cmrcnet.cli.options import positive_float


def add_report(commands: "options.Commands") -> None:
    """Add the options of ``report``."""
    parser = options.add_command(
        commands, "report", "write the report of one or several predictions, to read and print"
    )
    parser.add_argument("predictions", type=Path, nargs="+", metavar="P.h5ad", help="files that predict wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="R.html", help="the report: .html or .pdf")
    parser.add_argument("--panel", metavar="NAME|FILE", help="gene panel to show (default: the prediction's)")
    options.add_moved_checkpoint(parser)
    options.add_json(parser)


def add_export(commands: "options.Commands") -> None:
    """Add the options of ``export``."""
    parser = options.add_command(commands, "export", "write a prediction for other programs, or all of it as one ZIP")
    parser.add_argument("prediction", type=Path, metavar="P.h5ad", help="a file that predict wrote")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="what to write: .csv, .h5ad (scanpy), .geojson (QuPath); or all as .zip, with figure and report",
    )
    options.add_moved_checkpoint(parser)
    options.add_json(parser)


def add_figure(commands: "options.Commands") -> None:
    """Add the options of ``figure``."""
    parser = options.add_command(commands, "figure", "draw maps of a gene panel for print, measured over predicted")
    parser.add_argument("prediction", type=Path, metavar="P.h5ad", help="a file that predict wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="F.pdf", help="the picture: .pdf, .svg or .png")
    genes = parser.add_mutually_exclusive_group()
    genes.add_argument("--blend", metavar="G1,G2[,G3]", help="draw two or three genes as colours on one map instead")
    genes.add_argument(
        "--panel", metavar="NAME|FILE", help="genes to draw, the first 12 of them (default: the prediction's panel)"
    )
    parser.add_argument(
        "--width-mm", type=positive_float, metavar="MM", help="width of the picture (default: 180; 90 for two genes)"
    )
    options.add_moved_checkpoint(parser)
    options.add_json(parser)
