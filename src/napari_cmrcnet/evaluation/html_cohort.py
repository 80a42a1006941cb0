"""The report of several predictions as one HTML file: scores and markers section by section, and maps of each."""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cmrcnet.common.files import write_content
from napari_cmrcnet.common.progress import Job, Progress, in_thread
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.evaluation.cohort import check_names, cohort_table
from napari_cmrcnet.evaluation.document import Heading, Part, Table, Text, drawn, html_page
from napari_cmrcnet.evaluation.figures import ground_of
from napari_cmrcnet.evaluation.headline import section_of
from napari_cmrcnet.evaluation.html_report import mapped, small_maps
from napari_cmrcnet.evaluation.plots_sets import set_boxplot
from napari_cmrcnet.evaluation.report_parts import (
    TRUST_BY,
    closing_parts,
    opening_parts,
    origin_parts,
    score_parts,
    section_parts,
)
from napari_cmrcnet.evaluation.score_notes import score_notes
from napari_cmrcnet.evaluation.scores import Scores, score_job
from napari_cmrcnet.retrieval.leaks import warnings_of
from napari_cmrcnet.retrieval.trust import TRUSTS, trust_levels

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.sections.panels import Panel


def write_cohort_report(
    predictions: "Sequence[Prediction]", path: str | os.PathLike[str], *, panel: "Panel | None" = None
) -> Job[Path]:
    """Write the report of the predictions of several sections as one HTML file.

    It has what must be known of them, scores and verdict of each section, the markers by section and patient, and for
    each section maps of the markers and how its prediction was made. Sections that were not measured have no scores.

    Parameters
    ----------
    predictions : sequence of Prediction
        One a section.
    path : path
        The .html file.
    panel : Panel, optional
        Markers; those of the first prediction that has some if not given.

    Raises
    ------
    UserError
        If two are of sections of the same name, or the file cannot be written.
    """
    check_names([prediction.name for prediction in predictions])
    panel = panel or next((one.panel for one in predictions if one.panel is not None), None)
    scores = []
    for prediction in predictions:
        scores.append((yield from score_job(prediction, panel)) if prediction.measured_genes else None)
    parts = [*_head(predictions, scores), *_sections(predictions, scores)]
    if panel is not None:
        yield Progress("Comparing sections", 0, 0)
        parts += _markers(predictions, panel)
    for done, (prediction, scored) in enumerate(zip(predictions, scores, strict=True)):
        drawing = Progress("Drawing maps", done, len(predictions), "sections")
        yield drawing
        parts += [Heading(section_of(prediction)), *(section_parts(scored) if scored is not None else ())]
        ground = ground_of(prediction)
        for name, genes in mapped(prediction, scored, panel).items():
            parts.append((yield from in_thread(partial(small_maps, prediction, ground, name, genes), drawing)))
        parts += origin_parts(prediction)
    title = f"Predicted expression of {count_text(len(predictions), 'section')}"
    return write_content(path, html_page(title, [*parts, *closing_parts(predictions)]))


def _head(predictions: "Sequence[Prediction]", scores: Sequence[Scores | None]) -> Iterator[Part]:
    known = [one.provenance.patient for one in predictions if one.provenance.patient]
    of = f"; {count_text(len(set(known)), 'patient')}" if known else ""
    unknown = [one.name for one in predictions if not one.provenance.patient]
    not_known = f"; patient not known: {', '.join(unknown)}" if unknown else ""
    spots = count_text(sum(map(len, predictions)), "spot")
    said = f"{', '.join(one.name for one in predictions)}{of}; {spots}{not_known}."
    notes = [f"{one.name}: {note}" for one in predictions for note in one.provenance.notes]
    warnings = [*warnings_of(predictions), *score_notes([one for one in scores if one is not None]), *notes]
    yield from opening_parts(f"Predicted expression of {count_text(len(predictions), 'section')}", warnings, said)


def _sections(predictions: "Sequence[Prediction]", scores: Sequence[Scores | None]) -> Iterator[Part]:
    """Yield one row per section: what it is, and how far its genes can be trusted; then scores."""
    yield Heading("Sections")
    rows = []
    for prediction, scored in zip(predictions, scores, strict=True):
        about = prediction.provenance
        levels = trust_levels(prediction)
        words = [TRUSTS[level] for level in levels if level >= 0] if scored is None else list(scored.table["trust"])
        like = about.likeness.verdict if about.likeness else "not known"
        rows.append([prediction.name, about.patient, len(prediction), like, *map(words.count, TRUSTS)])
    yield Table(["section", "patient", "spots", "tissue", *(f"genes: {word}" for word in TRUSTS)], rows)
    yield Text(TRUST_BY)
    known = {section_of(one): scored for one, scored in zip(predictions, scores, strict=True) if scored is not None}
    if known:
        yield from score_parts(list(known.values()))
        yield drawn(set_boxplot({name: one.table for name, one in known.items()}), "Box plots of PCC by gene set")


def _markers(predictions: "Sequence[Prediction]", panel: "Panel") -> Iterator[Part]:
    """Yield the markers and their score by section and patient."""
    found = cohort_table(predictions, panel.genes, panel)
    if found.empty:
        return
    of_all = found[found["source"] == ""]
    places = {gene: place for place, gene in enumerate(of_all["gene"].unique())}
    of_all = of_all.sort_values("gene", key=lambda column: column.map(places), kind="stable")
    columns = ["spots", "trust", "predicted_mean", "predicted_sd", "predicted_share_above", "measured_mean", "pcc"]
    rows = [
        [row["gene"], row["section"] or f"patient {row['patient']}", *(row[name] for name in columns)]
        for row in of_all.to_dict("records")
    ]
    yield Heading(f"{panel.name} by section")
    yield Table(["gene", "section", "spots", "trust", "predicted", "SD", "share above", "measured", "PCC"], rows)
    yield Text(
        "Mean log-normalised expression over the spots that count in the PCC, and its standard deviation (SD). "
        f"{panel.name} is the mean of its genes' z-scores within a section: its share tells sections apart, its mean "
        "does not. The share is of "
        "predicted values above Otsu's threshold over the spots of all sections. "
        "A patient's row is the mean over its sections."
    )
