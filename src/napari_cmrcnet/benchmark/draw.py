"""The paper's figures from the results of a benchmark, as PNG and SVG."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cmrcnet.benchmark.best_genes import best_genes, mean_pcc_by_gene
from napari_cmrcnet.benchmark.collected import Collected, Label, ranked
from napari_cmrcnet.benchmark.method_names import DEPTH
from napari_cmrcnet.benchmark.plots import method_boxplot, method_colours, method_correlations, method_moments
from napari_cmrcnet.benchmark.results import RANKED_BY, found_enough, top_genes
from napari_cmrcnet.common.metrics import TOP, dense
from napari_cmrcnet.common.progress import Job, Progress, in_thread
from napari_cmrcnet.evaluation.figures import Ground, method_maps
from napari_cmrcnet.evaluation.headline import section_words
from napari_cmrcnet.evaluation.picture_file import draw_picture, file_name, file_names
from napari_cmrcnet.evaluation.set_scores import Definition
from napari_cmrcnet.sections.expression import expression_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from napari_cmrcnet.benchmark.dataset import Dataset
    from napari_cmrcnet.sections.section import Section

Array = NDArray[np.float64]

_KINDS = ("png", "svg")
_MAPS = 3  # genes drawn as maps where the dataset names none
_THUMBNAIL_PX = 1200


def draw(dataset: "Dataset", found: Collected, labels: Sequence[Label], sets: Definition, out: Path) -> Job[list[Path]]:
    """Draw figures 2 to 7.

    Parameters
    ----------
    dataset : Dataset
        The sections.
    found : Collected
        The results.
    labels : sequence of Label
        The methods to draw; those that are constant everywhere are left out where nothing could be seen.
    sets : {"paper", "all"}
        Among which genes HEG and HVG are ranked.
    out : Path
        Folder for the files.
    """
    expressed = [label for label in labels if label.method != DEPTH]  # its values are no expression
    colours = method_colours([label.text for label in labels])
    files = yield from _save(partial(method_boxplot, _pcc(found, labels, sets), colours), out / "figure2")
    for name in found.sections:
        section = dataset.open(name)
        with section.slide:
            files += yield from _draw_section(section, dataset, found, expressed, sets, out)
    return files


def _draw_section(
    section: "Section", dataset: "Dataset", found: Collected, labels: Sequence[Label], sets: Definition, out: Path
) -> Job[list[Path]]:
    """Draw what is drawn of each section: moments, gene-gene correlations and maps, of the first seed."""
    if not labels:
        return []
    names = list(found.sections)
    seed, safe = found.seeds[0], file_names(names)[names.index(section.name)]
    outputs = {label: found.output(label, seed, section.name) for label in labels}
    where = section_words(section.name, section.patient)
    as_drawn = {"mean": "measured_mean", "variance": "measured_variance"}
    tables = {label.text: output.table.rename(columns=as_drawn) for label, output in outputs.items()}
    files = yield from _save(partial(method_moments, tables, where), out / f"figure3_{safe}")
    varying = [label for label in labels if _varies(found, label)]
    if not varying:
        return files
    drawn = {label.text: outputs[label] for label in varying}
    one = outputs[labels[0]]  # what was measured is the same in all
    for name, by in RANKED_BY.items():
        genes = found_enough(one.table, top_genes(one.table, by, TOP, sets))
        predicted = {text: of.drawn.loc[one.counted, genes].to_numpy(np.float64) for text, of in drawn.items()}
        title = f"{where}, {len(genes)} {name}"
        figure = partial(method_correlations, genes, _measured(section, genes)[one.counted], predicted, title)
        files += yield from _save(figure, out / f"figure4_{safe}_{name}")
    ground = _ground(section)
    for gene in _map_genes(dataset, found, varying, outputs[varying[0]].drawn):
        maps = {text: (of.drawn[gene].to_numpy(np.float64), of.table["pcc"][gene]) for text, of in drawn.items()}
        figure = partial(method_maps, ground, _measured(section, [gene])[:, 0], maps, gene, subtitle=where)
        files += yield from _save(figure, out / f"map_{file_name(gene)}_{safe}")
    return files


def _save(draw: "Callable[[], Figure]", stem: Path) -> Job[list[Path]]:
    step, files = Progress(f"Drawing {stem.name}", 0, 0), []
    figure = yield from in_thread(draw, step)
    for kind in _KINDS:
        files.append((yield from draw_picture(lambda: figure, stem.with_name(f"{stem.name}.{kind}"), step)))
        figure.set_layout_engine("none")  # as it is laid out now: finding room takes longer than drawing
    return files


def _varies(found: Collected, label: Label) -> bool:
    outputs = (found.output(label, seed, name) for name in found.sections for seed in found.seeds)
    return any(output.table["pcc"].notna().any() for output in outputs)


def _pcc(found: Collected, labels: Sequence[Label], sets: Definition) -> dict[str, dict[str, dict[str, Array]]]:
    """Return the PCC of each set, section and method, (g,), means over the seeds."""
    return {
        set_name: {
            name: {
                label.text: found.scores(label, name, ranked(by, TOP, sets)).mean().to_numpy(np.float64)
                for label in labels
            }
            for name in found.sections
        }
        for set_name, by in RANKED_BY.items()
    }


def _measured(section: "Section", genes: Sequence[str]) -> Array:
    return dense(expression_of(section.spots, genes))


def _map_genes(dataset: "Dataset", found: Collected, labels: Sequence[Label], here: pd.DataFrame) -> list[str]:
    """Return the dataset's genes for maps that are kept here, or what is predicted best of those kept everywhere."""
    if named := [gene for gene in dataset.map_genes if gene in here]:
        return named
    kept = set.intersection(*(set(found.output(labels[0], found.seeds[0], name).drawn) for name in found.sections))
    ours = next((label for label in labels if label.method == "cmrcnet"), labels[0])
    means = mean_pcc_by_gene(found, ours)
    means = means[means.index.isin(kept)]
    markers = [gene for gene in dataset.markers if gene in means]
    return list(dict.fromkeys([*markers[: _MAPS - 1], *best_genes(means, _MAPS).index]))[:_MAPS]


def _ground(section: "Section") -> Ground:
    image = section.slide.thumbnail(_THUMBNAIL_PX)
    return Ground(section.xy, section.spot_diameter, section.mpp, image, section.slide.shape[1] / image.shape[1])
