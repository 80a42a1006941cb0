"""The options of each command, with an example in each ``--help``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

EXAMPLES = {
    "simulate": "napari-cmrcnet simulate synthetic --sections 4 --seed 0",
    "info": "napari-cmrcnet info slide.svs",
    "train": "napari-cmrcnet train sections.csv --without S4 --out model.cmrcnet --panel idc",
    "predict": "napari-cmrcnet predict --checkpoint model.cmrcnet --slide S4.tif --spots S4.h5ad\n"
    "  napari-cmrcnet predict sections.csv --checkpoint model.cmrcnet --out predictions --workers 2",
    "evaluate": "napari-cmrcnet evaluate S4_predicted.h5ad --panel idc --out scores",
    "benchmark": "napari-cmrcnet benchmark sections.csv --methods cmrcnet,ridge --panel idc --out benchmark\n"
    "  napari-cmrcnet benchmark read --folds patient --seeds 3 --out read_benchmark",
    "download": "napari-cmrcnet download read",
    "demo": "napari-cmrcnet demo --out demo_output",
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``napari-cmrcnet``."""
    from napari_cmrcnet.cli.experiment_parser import add_benchmark, add_download

    parser = argparse.ArgumentParser(
        prog="napari-cmrcnet",
        description="Predict spatial gene expression from H&E slides by cross-modal retrieval. For research use only.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and leave")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_simulate(commands)
    _add_info(commands)
    _add_train(commands)
    _add_predict(commands)
    _add_evaluate(commands)
    add_benchmark(commands)
    add_download(commands)
    _add_demo(commands)
    return parser


class _Version(argparse.Action):
    """Look the version up only when it is asked for: reading package metadata costs time."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from napari_cmrcnet import __version__

        parser.exit(message=f"napari-cmrcnet {__version__}\n")


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


def _add_simulate(commands: "Commands") -> None:
    parser = add_command(commands, "simulate", "make synthetic H&E sections with spots and counts, and their sheet")
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder to write them to")
    parser.add_argument("--sections", type=positive_int, default=4, metavar="N", help="how many sections (4)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same sections (0)")


def _add_info(commands: "Commands") -> None:
    parser = add_command(
        commands, "info", "say what a slide, spots, checkpoint or prediction is, and what is wrong with it"
    )
    parser.add_argument(
        "path", type=Path, nargs="?", metavar="PATH", help="a file or folder; without one, the versions installed here"
    )
    parser.add_argument("--library", metavar="NAME", help="of spots: one of several sections in an h5ad file")
    add_json(parser)


def _add_train(commands: "Commands") -> None:
    parser = add_command(commands, "train", "train CMRCNet on the sections of a sheet")
    parser.add_argument("sheet", type=Path, metavar="SHEET", help="CSV: section,slide,spots,patient")
    parser.add_argument("--out", type=Path, required=True, metavar="M.cmrcnet", help="checkpoint to write")
    parser.add_argument(
        "--without", nargs="+", default=[], metavar="SECTION", help="sections of the sheet to leave out"
    )
    parser.add_argument("--resume", action="store_true", help="go on where a stopped training was")

    model = parser.add_argument_group("model")
    model.add_argument(
        "--preset",
        choices=["paper", "small", "tiny"],
        help="train a network from scratch, of this size. paper: ViT-B/32, for a GPU; small: for a laptop; tiny: for "
        "tests",
    )
    model.add_argument(
        "--variant",
        choices=["frozen", "tuned", "paper", "released"],
        help="frozen: heads on an encoder trained on photographs, solved in seconds. From scratch: tuned, chosen on "
        "four sections of one patient; paper, as the paper describes it; released, as its published code runs it "
        "(frozen; with --preset tuned, or paper for its size)",
    )
    model.add_argument(
        "--image-encoder", metavar="NAME", help="a timm model or 'conv', a small convolutional network (the variant's)"
    )
    model.add_argument(
        "--weights", type=Path, metavar="FILE", help="local weights of the image encoder (.safetensors, .pth)"
    )
    model.add_argument(
        "--pretrained", action="store_true", help="fetch the weights of --image-encoder from the model hub"
    )
    model.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="other settings of the model: contrast=soft or clip (its loss), temperature=T, reconstruction=false (the "
        "contrastive loss alone), target=image or expression, reconstruction_loss=mse or cosine, mask_rate=R, "
        "dropout=R, layer_scale=X (UNI: 1e-5)",
    )

    data = parser.add_argument_group("data")
    data.add_argument(
        "--genes",
        dest="n_top_genes",
        type=positive_int,
        default=1000,
        metavar="N",
        help="highly variable genes a section (1000)",
    )
    data.add_argument(
        "--target-sum",
        metavar="N|median",
        help="total of a spot's counts after normalisation, as the model reads genes: the median total of each section "
        "in the published variants, 10000 in the tuned one (default: set by --variant)",
    )
    add_patches(data)
    data.add_argument(
        "--standardise",
        action=argparse.BooleanOptionalAction,
        help="take out of each section's patches what its stain and scanner add to all (the variant's)",
    )
    data.add_argument("--min-umi", type=int, default=0, metavar="N", help="leave out spots with fewer counts (0)")
    data.add_argument("--validation", metavar="SECTION|SHARE", help="a section's name, or a share of spots such as 0.2")
    data.add_argument("--panel", metavar="NAME|FILE", help="marker genes that predictions show first")
    data.add_argument(
        "--no-thumbnails",
        dest="thumbnails",
        action="store_false",
        help="store no small pictures of the training patches; with them, tissue of the training patients goes "
        "wherever the checkpoint goes",
    )

    query = parser.add_argument_group("prediction")
    query.add_argument(
        "--symmetries",
        action=argparse.BooleanOptionalAction,
        help="average over the eight flips and turns of a patch, which takes eight times as long (the variant's)",
    )
    query.add_argument(
        "--context",
        type=float,
        metavar="W",
        help="weight of the spots around a spot, its own being 1; 0: the patch alone (the variant's)",
    )
    query.add_argument("--k", type=positive_int, metavar="N", help="training spots behind a value (the variant's)")
    query.add_argument(
        "--weighted",
        action=argparse.BooleanOptionalAction,
        help="weigh them by the probabilities of CLIP's loss instead of all alike (the variant's)",
    )

    fit = parser.add_argument_group("training")
    fit.add_argument("--epochs", type=positive_int, metavar="N", help="(60; 30 in the tuned variant)")
    fit.add_argument("--batch-size", type=positive_int, default=64, metavar="N", help="(64)")
    fit.add_argument("--accumulate", type=positive_int, default=1, metavar="N", help="batches a step (1)")
    fit.add_argument("--learning-rate", type=positive_float, default=1e-4, metavar="LR", help="(1e-4)")
    fit.add_argument("--schedule", choices=["constant", "cosine"], help="of the learning rate (the variant's own)")
    fit.add_argument("--warmup-epochs", type=int, default=0, metavar="N", help="(0)")
    fit.add_argument("--precision", choices=["auto", "fp32", "bf16", "fp16"], default="auto", help="(auto)")
    fit.add_argument("--seed", type=int, default=0, help="(0)")
    add_device(fit)


def _add_predict(commands: "Commands") -> None:
    parser = add_command(commands, "predict", "predict expression at the spots of a slide, or of each slide of a sheet")
    parser.add_argument("sheet", type=Path, nargs="?", metavar="SHEET", help="CSV: section,slide,spots,patient")
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="M.cmrcnet", help="the trained model")
    parser.add_argument("--slide", type=Path, metavar="S", help="one slide, in place of a sheet")
    parser.add_argument("--spots", type=Path, metavar="P", help="its spots; without, a grid over the tissue")
    parser.add_argument("--library", metavar="NAME", help="which section of P, where it is an h5ad file of several")
    parser.add_argument("--out", type=Path, metavar="P.h5ad|DIR", help="a file (one slide only) or a folder")
    parser.add_argument("--overwrite", action="store_true", help="replace a prediction of that name (one slide only)")
    parser.add_argument("--k", type=positive_int, metavar="N", help="training spots behind a value (the checkpoint's)")
    parser.add_argument("--panel", metavar="NAME|FILE", help="marker genes to store (the checkpoint's)")
    parser.add_argument("--patient", metavar="P", help="the patient of the slide (what the spots say)")
    parser.add_argument("--mpp", type=positive_float, help="µm per pixel of the slide, where the files are wrong")
    parser.add_argument("--pitch", type=positive_float, metavar="UM", help="µm between grid spots (100)")
    parser.add_argument("--lattice", choices=["hex", "square"], help="of the grid (hex)")
    parser.add_argument("--min-umi", type=int, default=0, metavar="N", help="leave out spots with fewer counts (0)")
    parser.add_argument("--batch-size", type=positive_int, default=64, metavar="N", help="(64)")
    parser.add_argument(
        "--precision",
        choices=["auto", "fp32", "bf16"],
        default="auto",
        help="of the image encoder; auto: bf16 on a GPU that has it, else fp32 (auto)",
    )
    parser.add_argument("--workers", type=positive_int, metavar="N", help="slides of a sheet at once (1)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="a dask.distributed scheduler to run the sheet on")
    add_device(parser)
    add_json(parser)


def _add_evaluate(commands: "Commands") -> None:
    parser = add_command(commands, "evaluate", "score predictions against the measured expression, with pictures")
    parser.add_argument("predictions", type=Path, nargs="+", metavar="PREDICTION", help="files of 'predict'")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the scores and pictures")
    parser.add_argument("--panel", metavar="NAME|FILE", help="marker genes (the prediction's own)")
    parser.add_argument("--checkpoint", type=Path, metavar="M.cmrcnet", help="where the checkpoint is now, if it moved")
    parser.add_argument(
        "--sets",
        choices=("paper", "all"),
        default="paper",
        help="rank HEG and HVG among the training sections' variable genes, as in the paper, or among all (paper)",
    )
    parser.add_argument(
        "--score-min-umi",
        type=int,
        metavar="N",
        help="leave spots with fewer counts out of scores, not of maps (100; 10 for panels under 1,000 genes)",
    )
    parser.add_argument("--nan-as-zero", action="store_true", help="count undefined PCC as 0, as published tables do")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (0)")
    add_json(parser)


def _add_demo(commands: "Commands") -> None:
    parser = add_command(commands, "demo", "predict and score the synthetic sample, with pictures")
    parser.add_argument(
        "--out", type=Path, default=Path("demo_output"), metavar="DIR", help="folder to write to (demo_output)"
    )


def add_patches(parser: "argparse._ActionsContainer") -> None:
    """Add ``--patch-px`` and ``--model-mpp``."""
    parser.add_argument(
        "--patch-px",
        type=positive_int,
        default=224,
        metavar="N",
        help="pixels a side of a patch; for a vision transformer a multiple of 7 or 32 (224)",
    )
    parser.add_argument(
        "--model-mpp",
        type=positive_float,
        default=0.5,
        metavar="MPP",
        help="µm per pixel of the patches (0.5)",
    )


def add_device(parser: "argparse._ActionsContainer") -> None:
    """Add ``--device``."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps (auto)")


def add_json(parser: "argparse._ActionsContainer") -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print the facts as JSON, and all other lines to stderr")
