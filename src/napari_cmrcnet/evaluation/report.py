"""The report of one or several predictions: tables, a summary for people and one for programs, and pictures."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import write_content, write_json
from napari_cmrcnet.common.locks import only_one
from napari_cmrcnet.common.metrics import dense
from napari_cmrcnet.common.progress import Job, Progress, in_turn
from napari_cmrcnet.common.spreadsheet import write_frame
from napari_cmrcnet.common.text import count_text, plain
from napari_cmrcnet.evaluation.cohort import check_names, cohort_table
from napari_cmrcnet.evaluation.document import Heading, Part, Picture, Text, markdown
from napari_cmrcnet.evaluation.figures import gene_map, ground_of
from napari_cmrcnet.evaluation.headline import COVERS, section_of
from napari_cmrcnet.evaluation.maps_figure import draw_panel
from napari_cmrcnet.evaluation.picture_file import draw_picture, file_names
from napari_cmrcnet.evaluation.plots_panel import MOST
from napari_cmrcnet.evaluation.plots_sets import set_boxplot
from napari_cmrcnet.evaluation.plots_spots import scatter
from napari_cmrcnet.evaluation.report_parts import (
    TRUST_BY,
    by_pcc,
    gene_table,
    opening_parts,
    origin_parts,
    score_parts,
    section_parts,
    structure,
)
from napari_cmrcnet.evaluation.resampling import LEVEL, RESAMPLES
from napari_cmrcnet.evaluation.score_notes import score_notes
from napari_cmrcnet.evaluation.scores import Scores, score_job
from napari_cmrcnet.evaluation.set_scores import SETS, Definition, SetScore, between, combine
from napari_cmrcnet.evaluation.shown import gene_shown
from napari_cmrcnet.retrieval.leaks import warnings_of
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.sections.panels import Panel

SUMMARY = "summary.json"
_BEST = 4  # maps of the best predicted genes
_MARKERS = MOST  # at most, of a large panel


@dataclass(frozen=True, eq=False)
class Report:
    """What `evaluate` found and wrote.

    Parameters
    ----------
    out : Path
        The folder.
    sets : mapping of str to SetScore
        ``HEG``, ``HVG``, ``markers``, over all sections.
    sections : tuple of Scores
        One a prediction.
    warnings : tuple of str
        What makes the figures better, or less real, than they look.
    files : tuple of Path
        All that was written; ``summary.json`` last.
    summary : mapping of str to object
        What ``summary.json`` holds.
    """

    out: Path
    sets: Mapping[str, SetScore]
    sections: tuple[Scores, ...]
    warnings: tuple[str, ...]
    files: tuple[Path, ...]
    summary: Mapping[str, Any]


def evaluate(
    predictions: Sequence[Prediction],
    out: str | os.PathLike[str],
    *,
    panel: Panel | None = None,
    seed: int = 0,
    sets: Definition = "paper",
    min_umi: int | None = None,
    nan_as_zero: bool = False,
) -> Job[Report]:
    """Score predictions against measured expression and write the report.

    Writes ``scores.csv`` (one row per gene and section), ``cohort.csv`` (the markers and their panel's score by
    section, class of spots and patient, see `cohort_table`), ``summary.md``, pictures, and ``summary.json`` last: a
    folder that has it is complete. Other files in the folder are not touched.

    Parameters
    ----------
    predictions : sequence of Prediction
        Predictions of measured sections.
    out : path
        The folder; created if missing.
    panel : Panel, optional
        Marker genes; those of each prediction if not given.
    seed : int
        Random seed of the bootstrap.
    sets : {"paper", "all"}
        The genes among which HEG and HVG are ranked, see `score_job`.
    min_umi : int, optional
        Spots with fewer counts are left out of the scores, not of the maps; see `score_filter.scored_spots`.
    nan_as_zero : bool
        Count undefined PCC as 0 in the means of sets, as published tables do.

    Raises
    ------
    UserError
        If there is no prediction, two are of sections of the same name, one cannot be scored, or a file cannot be
        written.
    """
    _check(predictions, seed, min_umi)
    out = Path(out)
    with only_one(out):
        score = partial(score_job, panel=panel, seed=seed, sets=sets, min_umi=min_umi, nan_as_zero=nan_as_zero)
        scores = yield from in_turn(map(score, predictions))
        of_all = {name: combine(scores, name) for name in SETS}
        warnings = (*warnings_of(predictions), *score_notes(scores, sets))
        if nan_as_zero:
            warnings += ("Undefined PCC are counted as 0, as in published tables.",)
        if out.is_dir():
            (out / SUMMARY).unlink(missing_ok=True)  # a report that is half replaced must not look complete
        table = pd.concat({one.section: one.table for one in scores}, names=["section"]).reset_index()
        files = [write_frame(out / "scores.csv", table)]
        markers = panel or next((one.panel for one in predictions if one.panel is not None), None)
        if markers is not None:
            files.append(write_frame(out / "cohort.csv", cohort_table(predictions, markers.genes, markers)))
        names = file_names([scored.section for scored in scores])
        for done, (prediction, scored, name) in enumerate(zip(predictions, scores, names, strict=True)):
            step = Progress("Drawing pictures", done, len(scores), "sections")
            files += yield from draw_section(prediction, scored, out, name, step)
        files += yield from draw_sets(predictions, scores, out, step)
        parts = _for_people(predictions, scores, warnings, nan_as_zero)
        pictures = [Picture(path.name, path.stem) for path in files if path.suffix == ".png"]
        files.append(write_content(out / "summary.md", markdown([*parts, Heading("Pictures"), *pictures])))
        found = _for_programs(predictions, scores, of_all, warnings, seed)
        write_json(out / SUMMARY, found)
        yield Progress("Drawing pictures", len(scores), len(scores), "sections")
        return Report(out, of_all, tuple(scores), warnings, (*files, out / SUMMARY), found)


def _check(predictions: Sequence[Prediction], seed: int, min_umi: int | None) -> None:
    if seed < 0:
        raise UserError(f"The seed is {seed}; give 0 or more.")
    if min_umi is not None and min_umi < 0:
        raise UserError(f"The minimum number of counts per spot is {min_umi}; give 0 or more.")
    if not predictions:
        raise UserError("There is no prediction to score; give one or more .h5ad files written by predict.")
    for prediction in predictions:
        if prediction.spots.X is not None and not prediction.counted:
            raise UserError(
                f"{prediction.provenance.spots} holds normalised values, and scoring {prediction.name} needs counts; "
                "store the counts in layers['counts'], and predict again."
            )
    check_names([prediction.name for prediction in predictions])


def _for_people(
    predictions: Sequence[Prediction], scores: Sequence[Scores], warnings: Sequence[str], nan_as_zero: bool
) -> Iterator[Part]:
    """Yield what ``summary.md`` says, but for the pictures."""
    names = ", ".join(scored.section for scored in scores)
    yield from opening_parts(f"Predicted against measured expression: {names}", warnings)
    yield from score_parts(scores, nan_as_zero)
    for prediction, scored in zip(predictions, scores, strict=True):
        yield Heading(scored.section)
        yield from section_parts(scored)
        markers = scored.table.loc[list(scored.markers)]
        for heading, rows in (("Best predicted", by_pcc(scored)[:10]), ("Markers", markers)):
            if len(rows):
                yield Text(f"{heading}:")
                yield gene_table(rows)
        yield Text(TRUST_BY)
        yield from origin_parts(prediction)


def _for_programs(
    predictions: Sequence[Prediction],
    scores: Sequence[Scores],
    sets: Mapping[str, SetScore],
    warnings: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """Return what ``summary.json`` holds."""
    return {
        **{name: asdict(sets[name]) for name in SETS},
        "between_sections": {name: between([scored.sets[name] for scored in scores]) for name in SETS},
        "spots": sum(len(scored.scored) for scored in scores),
        "spots_scored": sum(scored.spots for scored in scores),
        "interval": {
            "level": LEVEL,
            "over": "blocks of neighbouring spots",
            "covers": COVERS,
            "resamples": RESAMPLES,
            "seed": seed,
        },
        "warnings": list(warnings),
        "sections": list(map(_of_section, predictions, scores)),
    }


def _of_section(prediction: Prediction, scored: Scores) -> dict[str, Any]:
    return {
        "section": scored.section,
        **{name: asdict(scored.sets[name]) for name in SETS},
        "sets": scored.definition,
        "spots": len(scored.scored),
        "spots_scored": scored.spots,
        "min_umi_scored": scored.min_umi,
        "depth": plain(asdict(scored.depth)),
        "morans_i_of_hvg": structure(scored),
        "genes": len(scored.table),
        "genes_scored": int(scored.table.pcc.notna().sum()),
        "panel": scored.panel,
        "missing_markers": list(scored.missing_markers),
        "provenance": plain(asdict(prediction.provenance)),
    }


def draw_section(prediction: Prediction, scored: Scores, out: Path, name: str, progress: Progress) -> Job[list[Path]]:
    """Draw a section's maps and its scatter plot, and the markers in one figure, as PNG and PDF.

    Maps are of the best predicted genes and of the markers; under each stands what must be known of the prediction.

    Parameters
    ----------
    prediction : Prediction
        Of a measured section.
    scored : Scores
        Its scores.
    out : Path
        The folder.
    name : str
        What the names of the files begin with.
    progress : Progress
        Yielded while they are drawn.
    """
    best = list(by_pcc(scored).index[:_BEST])
    markers = list(scored.markers[:_MARKERS])
    genes = list(dict.fromkeys(best + markers))
    yield progress
    ground, warnings, files = ground_of(prediction), " ".join(warnings_of([prediction])), []
    for gene, file in zip(genes, file_names(genes), strict=True):
        figure = partial(gene_map, ground, gene_shown(prediction, gene, scored), caption=warnings)
        files.append((yield from draw_picture(figure, out / f"{name}_map_{file}.png", progress)))
    shown = list(dict.fromkeys(best[:3] + markers[:3]))
    if shown:
        measured, predicted = dense(prediction.measured(shown)), dense(prediction.expression(shown))
        title = f"{section_of(prediction)}, n = {count_text(scored.spots, prediction.unit, len(scored.scored))}"
        figure = partial(scatter, shown, measured, predicted, list(scored.table.pcc[shown]), title)
        files.append((yield from draw_picture(figure, out / f"{name}_scatter.png", progress)))
    if markers:
        figure = draw_panel(prediction, ground, Panel(scored.panel, tuple(markers)))
        for kind in ("png", "pdf"):
            files.append((yield from draw_picture(figure, out / f"{name}_markers.{kind}", progress)))
    return files


def draw_sets(
    predictions: Sequence[Prediction], scores: Sequence[Scores], out: Path, progress: Progress
) -> Job[list[Path]]:
    """Draw the box plot of all sections, as PNG and SVG."""
    sections = map(section_of, predictions)
    figure = partial(set_boxplot, {name: scored.table for name, scored in zip(sections, scores, strict=True)})
    files = [out / f"pcc_by_gene_set.{kind}" for kind in ("png", "svg")]
    return (yield from in_turn(draw_picture(figure, file, progress) for file in files))
