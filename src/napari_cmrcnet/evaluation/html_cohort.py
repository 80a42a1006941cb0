"""The report of several predictions as one HTML file: scores and markers section by section, and maps of each."""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import atomic_file
from napari_cmrcnet.common.progress import Job, Progress, in_thread
from napari_cmrcnet.evaluation.cohort import ALL, cohort_table
from napari_cmrcnet.evaluation.gene_figure import RESEARCH_USE, ground_of
from napari_cmrcnet.evaluation.headline import COVERS, section_of
from napari_cmrcnet.evaluation.html_origin import closing_parts, origin_parts
from napari_cmrcnet.evaluation.html_page import element, page, picture, table
from napari_cmrcnet.evaluation.html_report import mapped, small_maps
from napari_cmrcnet.evaluation.plots_sets import pcc_by_set, set_boxplot
from napari_cmrcnet.evaluation.score_notes import score_notes, sets_in_words
from napari_cmrcnet.evaluation.scores import Scores, score_job
from napari_cmrcnet.evaluation.set_scores import SETS, between
from napari_cmrcnet.retrieval.leaks import warnings_of
from napari_cmrcnet.retrieval.trust import TRUSTS, trust_levels
from napari_cmrcnet.sections.score_filter import spots_in_words

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

    Returns
    -------
    Path
        The file.

    Raises
    ------
    UserError
        If two are of sections of the same name, or the file cannot be written.
    """
    names = [prediction.name for prediction in predictions]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"Several predictions are of a section named {', '.join(repeated)}; give one of each section.")
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
        parts.append(element("h2", section_of(prediction)))
        ground = ground_of(prediction)
        for name, genes in mapped(prediction, scored, panel).items():
            parts.append((yield from in_thread(partial(small_maps, prediction, ground, name, genes), drawing)))
        parts += origin_parts(prediction)
    path = Path(path)
    with atomic_file(path) as temporary:
        text = page(f"Predicted expression of {len(predictions)} sections", [*parts, *closing_parts(predictions)])
        temporary.write_text(text, "utf-8")
    return path


def _head(predictions: "Sequence[Prediction]", scores: Sequence[Scores | None]) -> Iterator[str]:
    patients = {one.provenance.patient for one in predictions if one.provenance.patient}
    yield element("div", RESEARCH_USE, "banner")
    yield element("h1", f"Predicted expression of {len(predictions)} sections")
    of = f" of {len(patients)} {'patient' if len(patients) == 1 else 'patients'}" if patients else ""
    spots = sum(map(len, predictions))
    yield element("p", f"{', '.join(one.name for one in predictions)}{of}; {spots:,} spots.", "quiet")
    notes = [f"{one.name}: {note}" for one in predictions for note in one.provenance.notes]
    known = [one for one in scores if one is not None]
    for warning in dict.fromkeys([*warnings_of(predictions), *(score_notes(known) if known else []), *notes]):
        yield element("div", warning, "note")


def _sections(predictions: "Sequence[Prediction]", scores: Sequence[Scores | None]) -> Iterator[str]:
    """Yield a row a section: what it is, its scores, and how far its genes can be trusted."""
    yield element("h2", "Sections")
    rows, trusts = [], []
    for prediction, scored in zip(predictions, scores, strict=True):
        about = prediction.provenance
        spots = f"{len(prediction):,}" if scored is None else spots_in_words(scored.spots, len(scored.scored))
        sets = [""] * len(SETS) if scored is None else [_in_words(scored, name) for name in SETS]
        levels = trust_levels(prediction)
        words = [TRUSTS[level] for level in levels if level >= 0] if scored is None else list(scored.table["trust"])
        like = about.likeness.verdict if about.likeness else "not known"
        rows.append([prediction.name, about.patient, spots, *sets])
        trusts.append([prediction.name, like, *map(words.count, TRUSTS)])
    yield table(["section", "patient", "spots", *SETS], rows)
    yield table(["section", "tissue", *(f"genes: {word}" for word in TRUSTS)], trusts)
    known = {section_of(one): scored for one, scored in zip(predictions, scores, strict=True) if scored is not None}
    if not known:
        return
    said = ["HEG, HVG and markers: mean PCC of their genes and its 95 % interval over blocks of neighbouring spots;"]
    said += [f"{COVERS}.", sets_in_words(list(known.values()))]
    for name in SETS:
        if found := between([scored.sets[name] for scored in known.values()]):
            said.append(f"{name} is between {found.low:.2f} and {found.high:.2f} in the {found.sections} sections.")
    yield element("p", " ".join(said), "quiet")
    yield picture(set_boxplot({name: pcc_by_set(one) for name, one in known.items()}), "Box plots of PCC by gene set")


def _in_words(scored: Scores, name: str) -> str:
    one = scored.sets[name]
    if one.pcc is None:
        return ""
    bounds = "" if one.low is None or one.high is None else f" ({one.low:z.2f} to {one.high:z.2f})"
    return f"{one.pcc:z.2f}{bounds}"


def _markers(predictions: "Sequence[Prediction]", panel: "Panel") -> Iterator[str]:
    """Yield the markers and their score by section and patient, over all spots."""
    found = cohort_table(predictions, panel.genes, panel)
    if found.empty:
        return
    of_all = found[found["class"] == ALL]
    places = {gene: place for place, gene in enumerate(of_all["gene"].unique())}
    of_all = of_all.sort_values("gene", key=lambda column: column.map(places), kind="stable")
    columns = ["spots", "predicted_mean", "predicted_sd", "predicted_share_above", "measured_mean", "pcc"]
    rows = [
        [row["gene"], row["section"] or f"patient {row['patient']}", *(row[name] for name in columns)]
        for row in of_all.to_dict("records")
    ]
    yield element("h2", f"{panel.name} by section")
    yield table(["gene", "section", "spots", "predicted", "SD", "share above", "measured", "PCC"], rows)
    yield element(
        "p",
        f"Mean log-normalised expression over all spots, and its standard deviation (SD). {panel.name} is the mean of "
        "its genes' z-scores within a section: its share tells sections apart, its mean does not. The share is of "
        "predicted values above Otsu's threshold over the spots of all sections. "
        "A patient's row is the mean over its sections.",
        "quiet",
    )
