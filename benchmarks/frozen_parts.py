"""What each part of the frozen variant brings: fitted without it, and scored on the folds and genes of `benchmark`.

usage: python -m benchmarks.frozen_parts SHEET [--panel NAME]

Prints one row per way: mean PCC over HEG, HVG (the paper's sets) and the markers, and the same given depth, over the
sections of the sheet, each left out in turn. Rank, penalty, k and the weights of neighbours are chosen inside the
training sections of each fold. Encoding takes minutes for each encoder; what was encoded before is in the cache.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from scipy import sparse

from napari_cmrcnet.benchmark.dataset import Dataset, from_sheet
from napari_cmrcnet.benchmark.folds import Fold, genes_of, make_folds, with_genes
from napari_cmrcnet.benchmark.methods.frozen_ridge import FrozenRidge
from napari_cmrcnet.benchmark.methods.method import Task
from napari_cmrcnet.benchmark.results import score_section, top_genes
from napari_cmrcnet.common.files import sha256
from napari_cmrcnet.common.metrics import mean_pcc
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.model.cmrcnet import BLOCKS
from napari_cmrcnet.model.pretrained import Pretrained, packaged
from napari_cmrcnet.retrieval.averages import Neighbourhoods, neighbour_weights
from napari_cmrcnet.retrieval.frozen_features import spot_features
from napari_cmrcnet.sections.expression import expression_of
from napari_cmrcnet.sections.panels import load_panel
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.training import frozen_choice
from napari_cmrcnet.training.data import left_out_parts
from napari_cmrcnet.training.reduced_rank import Spots, measured_components

Features = Mapping[str, NDArray[np.float32]]
SMALL, MIDDLE, WIDE, AROUND = range(BLOCKS)  # of `spot_features`
TOP = 50


@dataclass(frozen=True)
class Way:
    """A way to fit: which features, and whether components count by their deviation or as they are."""

    encoder: str
    columns: Callable[[int], NDArray[np.int64]]  # of the width of a block
    scaled: bool = True


def blocks(*chosen: int, of_each: slice = slice(None)) -> Callable[[int], NDArray[np.int64]]:
    """Return which columns some blocks are, or a part of each."""
    return lambda width: np.concatenate([block * width + np.arange(width)[of_each] for block in chosen])


EVERY = (SMALL, MIDDLE, WIDE, AROUND)
WAYS = {
    "the frozen variant": Way("efficientnet-lite2", blocks(*EVERY)),
    "without the spots around": Way("efficientnet-lite2", blocks(SMALL, MIDDLE, WIDE)),
    "the fields of 112 and 224 µm alone": Way("efficientnet-lite2", blocks(SMALL, MIDDLE)),
    "the field of 112 µm alone": Way("efficientnet-lite2", blocks(SMALL)),
    "the first of its three layers alone": Way("efficientnet-lite2", blocks(*EVERY, of_each=slice(2 * 48))),
    "components not over their deviation": Way("efficientnet-lite2", blocks(*EVERY), scaled=False),
    "EfficientNet-Lite0": Way("efficientnet-lite0", blocks(*EVERY)),
    "EfficientNet-Lite2 with random weights": Way("random", blocks(*EVERY)),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--panel", default="idc")
    options = parser.parse_args()
    dataset = from_sheet(options.sheet, load_panel(options.panel))
    dataset, sections = dataset.joined([dataset.open(row.section) for row in dataset.rows])
    named = {section.name: section for section in sections}
    chosen = {section.name: genes_of(section) for section in sections}
    folds = [with_genes(fold, named, chosen, dataset.markers) for fold in make_folds(dataset.rows, "sample")]
    encoded = {name: _features(sections, name) for name in dict.fromkeys(way.encoder for way in WAYS.values())}
    print("| | HEG | HVG | markers | HEG given depth | HVG given depth | markers given depth |\n|" + "---|" * 7)
    for title, way in WAYS.items():
        found = [_fold(dataset, fold, named, encoded[way.encoder], way) for fold in folds]
        _print(title, found)
    _print("the regression that it comes from", [_regression(dataset, fold, named) for fold in folds])


def _print(title: str, found: Sequence[Sequence[float]]) -> None:
    print(f"| {title} | " + " | ".join(f"{value:.3f}" for value in np.mean(found, axis=0)) + " |", flush=True)


def _features(sections: Sequence[Section], encoder: str) -> Features:
    with tempfile.TemporaryDirectory() as folder:
        pretrained = _random(Path(folder)) if encoder == "random" else packaged(encoder)
        return {one.name: finish(spot_features(one, pretrained)) for one in sections}


def _random(folder: Path) -> Pretrained:
    """Return the default encoder with weights that nothing was learned by."""
    torch.manual_seed(0)
    path = folder / "random.pth"
    torch.save(timm.create_model("tf_efficientnet_lite2", pretrained=False).state_dict(), path)
    return Pretrained(packaged().encoder, path, sha256(path))


def _fold(dataset: Dataset, fold: Fold, named: Mapping[str, Section], features: Features, way: Way) -> list[float]:
    training, (test,) = [named[name] for name in fold.training], fold.test
    columns = way.columns(features[test].shape[1] // len(EVERY))
    known = Spots(
        np.concatenate([features[section.name][:, columns] for section in training]),
        sparse.vstack([expression_of(section.spots, fold.genes) for section in training], format="csr"),
    )
    numbers = np.repeat(np.arange(len(training)), [len(section.spots) for section in training])
    head = frozen_choice.image_head if way.scaled else lambda fitted, _: fitted.into
    with mock.patch.object(frozen_choice, "image_head", head):
        settings = finish(frozen_choice.choose(known, numbers, left_out_parts(training))).settings
        fitted = finish(known.fitted(settings.penalty, settings.rank))
        (bank,) = finish(measured_components(known.expression, [fitted]))
        space = frozen_choice.Space.of(fitted, features[test][:, columns], bank, np.arange(len(bank)))
    near, alike = space.nearest(settings.rank, settings.k)
    weighted = Neighbourhoods.of(near, len(bank), neighbour_weights(alike, settings.temperature))
    return _scores(dataset, fold, named[test], weighted.mean(known.expression.toarray()))


def _regression(dataset: Dataset, fold: Fold, named: Mapping[str, Section]) -> list[float]:
    fitted = finish(FrozenRidge().fit(Task(tuple(named[name] for name in fold.training), fold.genes)))
    (test,) = fold.test
    return _scores(dataset, fold, named[test], finish(fitted.predict(named[test])))


def _scores(dataset: Dataset, fold: Fold, section: Section, predicted: NDArray[np.floating]) -> list[float]:
    """Return the mean PCC of HEG, HVG and markers, and the same given depth."""
    measured = set(map(str, section.spots.var_names))
    both = [row for row, gene in enumerate(fold.genes) if gene in measured]
    genes = [fold.genes[row] for row in both]
    guess = {"": np.asarray(predicted[:, both], np.float32)}
    table = score_section(section, genes, guess, variable=fold.variable, shown=())[""].table
    sets = [list(top_genes(table, by, TOP, "paper")) for by in ("mean", "variance")]
    sets.append([one for one in dataset.markers if one in genes])
    return [mean_pcc(table[score][names]) for score in ("pcc", "partial_pcc") for names in sets]


if __name__ == "__main__":
    main()
