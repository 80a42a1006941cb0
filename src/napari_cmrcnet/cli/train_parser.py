"""The options of ``train``."""

import argparse
from pathlib import Path

from napari_cmrcnet.cli import options
from napari_cmrcnet.cli.options import positive_float, positive_int


def add_train(commands: "options.Commands") -> None:
    """Add ``train``."""
    parser = options.add_command(commands, "train", "train CMRCNet on the sections of a sheet")
    parser.add_argument("sheet", type=Path, metavar="SHEET", help=options.SHEET)
    parser.add_argument("--out", type=Path, required=True, metavar="M.cmrcnet", help="checkpoint to write")
    parser.add_argument(
        "--without", nargs="+", default=[], metavar="SECTION", help="sections of the sheet to leave out"
    )
    parser.add_argument("--resume", action="store_true", help="continue training after a stop")
    _add_model(parser)
    _add_data(parser)
    _add_query(parser)
    _add_fit(parser)


def _add_model(parser: argparse.ArgumentParser) -> None:
    model = parser.add_argument_group("model")
    model.add_argument(
        "--preset",
        choices=["paper", "small", "tiny"],
        help="train a network of this size from scratch. paper: ViT-B/32, for a GPU; small: for a laptop; tiny: for "
        "tests",
    )
    model.add_argument(
        "--variant",
        choices=["frozen", "tuned", "paper", "released"],
        help="frozen: linear heads on an encoder that was trained on photographs; solved in seconds once the patches "
        "are encoded. The others train a network from scratch. tuned: with settings chosen on four sections of one "
        "patient; paper: as in the paper; released: as in the paper's published code (default: frozen; with --preset "
        "paper: paper; with another preset: tuned)",
    )
    model.add_argument(
        "--encoder",
        default="efficientnet-lite2",
        metavar="NAME",
        help="image encoder of the frozen variant. efficientnet-lite2 is installed, efficientnet-lite0 comes with its "
        "own package. The others were trained on histology: their weights are read from --weights, or downloaded from "
        "the model hub with your own login: uni, uni2-h, virchow2, h-optimus-0, h-optimus-1, h0-mini, prov-gigapath, "
        "phikon-v2, conch, hibou-b, hibou-l, midnight, kaiko-s16, kaiko-s8, kaiko-b16, kaiko-b8, kaiko-l14, ctranspath "
        "(default: efficientnet-lite2)",
    )
    model.add_argument(
        "--image-encoder",
        metavar="NAME",
        help="name of a timm model, or conv for a small convolutional network (default: set by --variant)",
    )
    model.add_argument(
        "--weights", type=Path, metavar="FILE", help="weights file of the image encoder (.safetensors or .pth)"
    )
    model.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="other settings of the model: contrast=soft or clip (contrastive loss), temperature=T, "
        "reconstruction=false (contrastive loss only), target=image or expression, reconstruction_loss=mse or cosine, "
        "mask_rate=R, dropout=R, layer_scale=X (UNI: 1e-5)",
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    data = parser.add_argument_group("data")
    data.add_argument(
        "--genes",
        dest="n_top_genes",
        type=positive_int,
        default=1000,
        metavar="N",
        help="number of highly variable genes per section (default: 1000)",
    )
    data.add_argument(
        "--target-sum",
        metavar="N|median",
        help="total counts per spot after normalisation, as the model reads them: a number, or the median of each "
        "section (default: median for the variants paper and released, otherwise 10000)",
    )
    options.share(data, "--patch-px", "--model-mpp")
    data.add_argument(
        "--colour-normalisation",
        action=argparse.BooleanOptionalAction,
        help="normalise the colours of each section, against effects of stain and scanner (default: set by --variant)",
    )
    data.add_argument("--pool", metavar="UM", help=f"for rows of the sheet without a pool: {options.TO_POOL}")
    options.share(data, "--min-umi")
    data.add_argument(
        "--validation",
        metavar="SECTION|SHARE",
        help="section to hold out for validation, or a share of all spots, such as 0.2 (default: none)",
    )
    data.add_argument(
        "--panel",
        metavar="NAME|FILE",
        help="gene panel to show first in predictions: a name, or a file of marker genes",
    )
    data.add_argument(
        "--no-thumbnails",
        dest="thumbnails",
        action="store_false",
        help="do not store small images of the training patches. They show the patients' tissue to everyone who has "
        "the checkpoint",
    )


def _add_query(parser: argparse.ArgumentParser) -> None:
    query = parser.add_argument_group("prediction")
    query.add_argument(
        "--test-time-augmentation",
        action=argparse.BooleanOptionalAction,
        help="average over the eight flips and rotations of each patch; eight times slower (default: set by --variant)",
    )
    query.add_argument(
        "--neighbourhood-smoothing",
        type=float,
        metavar="W",
        help="weight of the spots around a spot, relative to the spot itself; 0: no smoothing (default: set by "
        "--variant)",
    )
    query.add_argument(
        "--k", type=positive_int, metavar="N", help="training spots averaged for each value (default: set by --variant)"
    )
    query.add_argument(
        "--weighted",
        action=argparse.BooleanOptionalAction,
        help="give more weight to more similar training spots, by the probabilities of CLIP's loss (default: set by "
        "--variant)",
    )


def _add_fit(parser: argparse.ArgumentParser) -> None:
    fit = parser.add_argument_group("training")
    fit.add_argument("--epochs", type=positive_int, metavar="N", help="number of epochs (default: 60; tuned: 30)")
    fit.add_argument(
        "--learning-rate", type=positive_float, default=1e-4, metavar="LR", help="learning rate (default: 1e-4)"
    )
    fit.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    options.share(fit, "--batch-size", "--precision", "--device")
