"""What reports say, the HTML pages and the summary of `evaluate` alike: each thing has its words here."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.evaluation.document import Heading, Pairs, Part, Table, Text
from napari_cmrcnet.evaluation.headline import COVERS, RESEARCH_USE
from napari_cmrcnet.evaluation.score_notes import sets_in_words
from napari_cmrcnet.evaluation.scores import Scores
from napari_cmrcnet.evaluation.set_scores import SETS, SetScore, between, combine
from napari_cmrcnet.retrieval.expected import COLUMNS, GOOD
from napari_cmrcnet.sections.score_filter import MIN_SPOTS

if TYPE_CHECKING:
    import pandas as pd

    from napari_cmrcnet.retrieval.prediction import Prediction

TRUST_BY = "Trust follows the PCC found here, or the expected PCC where a gene has none."
"""By what the words of trust are, beside scores."""

_SIMILAR = {
    "mean_similarity": "mean similarity to its training spots (cosine)",
    "best_similarity": "similarity to the nearest of them (cosine)",
    "sections": "sections among them",
}


def opening_parts(title: str, warnings: Sequence[str], said: str = "") -> Iterator[Part]:
    """Yield the title, and what makes predictions and scores better, or less real, than they look, each once."""
    yield Text(RESEARCH_USE, "banner")
    yield Heading(title, 1)
    if said:
        yield Text(said)
    yield from (Text(warning, "note") for warning in dict.fromkeys(warnings))


def score_parts(scores: Sequence[Scores], nan_as_zero: bool = False) -> Iterator[Part]:
    """Yield the mean scores of the gene sets in each section and over all, and what they mean."""
    rows = []
    for one in scores:
        spots = count_text(one.spots, "spot", len(one.scored)).rpartition(" ")[0]
        rows += [[one.section, spots, len(one.table), *set_row(name, one.sets[name])] for name in SETS]
    if len(scores) > 1:
        total = f"{sum(one.spots for one in scores):,}"
        rows += [["mean of all", total, None, *set_row(name, combine(scores, name))] for name in SETS]
    yield Heading("Scores by gene set")
    header = ["section", "spots", "genes", "set", "mean PCC", "95 % interval", "partial PCC", "Spearman"]
    yield Table([*header, "genes counted", "no score"], rows)
    yield Text(sets_in_words(scores))
    undefined = "count as 0 in the means" if nan_as_zero else "are left out of the means"
    yield Text(
        "PCC: Pearson correlation of predicted and measured expression of a gene over the spots of a section, with "
        f"95 % intervals (bootstrap over blocks of neighbouring spots). An interval covers {COVERS}. "
        "The partial PCC is the correlation that is left when the effect of sequencing depth (the log of a spot's "
        f"total counts, and its square) is removed from both. A gene that was found at fewer "
        f"than {MIN_SPOTS} of the spots, or is constant, has no score; such genes {undefined} and are counted under "
        "“no score”."
    )
    spread = [(name, found) for name in SETS if (found := between([one.sets[name] for one in scores]))]
    if spread:
        yield Text("How the mean PCC differs between the sections, which an interval does not cover:")
        yield Table(
            ["set", "sections", "standard deviation", "lowest", "highest"],
            [[name, *(found[of] for of in ("sections", "sd", "low", "high"))] for name, found in spread],
        )


def set_row(name: str, one: SetScore) -> list[Any]:
    """Return a row of scores: set, mean PCC, interval, partial PCC, Spearman, genes counted, genes without a score."""
    return [name, one.pcc, bounds(one.low, one.high), one.partial_pcc, one.spearman, one.n, one.undefined]


def bounds(low: float | None, high: float | None) -> str:
    """Return an interval as a table has it, "" where there is none."""
    return "" if low is None or high is None or np.isnan(low) else f"{low:.3f} to {high:.3f}"


def section_parts(scored: Scores) -> Iterator[Part]:
    """Yield what is to be known of a section beside its scores."""
    yield Text(f"Sequencing depth: {scored.depth}.")
    means = structure(scored)
    if None not in means.values():  # of a few spots, or where a prediction is the same everywhere
        yield Text(
            f"Spatial structure: Moran's I of the HVG is {means['measured']:.3f} measured and "
            f"{means['predicted']:.3f} predicted, on average (0: neighbouring spots are unrelated, 1: alike). "
            "Predictions are smoother than measurements, which are noisy from spot to spot."
        )
    yield from _expected(scored)
    if scored.panel:
        missing = ", ".join(scored.missing_markers)
        lacking = f" Not measured, or not in the checkpoint: {missing}." if missing else ""
        yield Text(f"Markers: {scored.panel}.{lacking}")


def structure(scored: Scores) -> dict[str, float | None]:
    """Return the mean of Moran's I over the HVG, measured and predicted; None while it is not known."""
    hvg = scored.table[scored.table.HVG]
    means = {of: float(hvg[f"{of}_morans_i"].mean()) for of in ("measured", "predicted")}
    return {of: None if np.isnan(mean) else mean for of, mean in means.items()}


def _expected(scored: Scores) -> Iterator[Part]:
    """Yield how the PCC of genes came out beside what the checkpoint had expected."""
    if COLUMNS[0] not in scored.table:
        return
    both = scored.table[[COLUMNS[0], "pcc"]].dropna()
    if len(both) < 3 or both.nunique().min() < 2:
        return
    good = both.pcc[both[COLUMNS[0]] >= GOOD]
    alike = both[COLUMNS[0]].corr(both.pcc)
    said = f"Expected accuracy: over {len(both):,} genes the expected PCC correlates {alike:.2f} with the PCC found."
    if len(good):
        said += f" Of the {len(good):,} with an expected PCC of {GOOD:g} or more (rare genes included), "
        said += f"{100 * (good > GOOD - 0.1).mean():.0f} % came out above {GOOD - 0.1:.1f}."
    yield Text(said)


def by_pcc(scored: Scores) -> "pd.DataFrame":
    """Return the rows of the genes that have a score, the best first."""
    return scored.table[scored.table.pcc.notna()].sort_values("pcc", ascending=False, kind="stable")


def gene_table(rows: "pd.DataFrame") -> Table:
    """Return the table of some genes, of rows of `Scores.table`."""
    header = ["gene", "sets", "spots found", "PCC", "95 % interval", "partial PCC", "Spearman", "RMSE"]
    body = [_gene_row(str(gene), row) for gene, row in zip(rows.index, rows.to_dict("records"), strict=True)]
    return Table([*header, "mean measured", "mean predicted", "trust"], body)


def _gene_row(gene: str, row: Mapping[Any, Any]) -> list[Any]:
    sets = ", ".join(name for name in SETS if row[name])
    numbers = [row[name] for name in ("partial_pcc", "spearman", "rmse", "measured_mean", "predicted_mean")]
    interval = row["undefined"] or bounds(row["low"], row["high"])
    return [gene, sets, row["spots_found"], row["pcc"], interval, *numbers, row["trust"]]


def confidence_parts(prediction: "Prediction") -> Iterator[Part]:
    """Yield how similar the spots are to the training spots, and how many are unlike them."""
    confidence = prediction.confidence()
    if prediction.provenance.external:
        return
    yield Heading("Confidence")
    yield Table(
        ["of a spot", "5th percentile", "median", "95th percentile"],
        [
            [said, *(float(value) for value in np.percentile(confidence[name], [5, 50, 95]))]
            for name, said in _SIMILAR.items()
        ],
    )
    if (rings := prediction.out_of_distribution()) is not None:
        yield Text(
            f"Unlike the training tissue (out of distribution): {count_text(int(rings.sum()), 'spot', len(rings))}. "
            "Such a spot has a best similarity below the 1st percentile of that of the training spots, and its value "
            "is unreliable."
        )


def origin_parts(prediction: "Prediction") -> Iterator[Part]:
    """Yield what was run on what."""
    about = prediction.provenance
    yield Heading("How the prediction was made")
    yield Pairs(
        {
            "section": about.section,
            "patient": about.patient or "not known",
            "slide": Path(about.slide).name,
            "spots": Path(about.spots).name,
            "tissue": about.likeness.reason if about.likeness else "not known whether it is like the training tissue",
            "pixel size": f"{about.mpp:.4g} µm, from {about.mpp_source}" if about.mpp else "not known",
            "checkpoint": Path(about.checkpoint).name,
            "SHA-256 of its card": about.checkpoint_digest,
            "trained on": about.trained_on,
            **({"epoch chosen by its score on": about.validated_on} if about.validated_on else {}),
            "a value": f"the {about.average}",
            "spots not predicted": f"those under {about.min_umi:,} counts" if about.min_umi else "none",
            "counts of a spot scaled to": f"{about.target_sum:,.0f}",
            "predicted": f"{about.date}, on {about.device} in {about.precision}" if about.device else about.date,
        }
    )


def closing_parts(predictions: "Sequence[Prediction]") -> Iterator[Part]:
    """Yield versions, the method, and what the report is for."""
    about = predictions[0].provenance
    yield Heading("Versions")
    yield Pairs({"napari-cmrcnet, of this report": version("napari-cmrcnet"), **about.packages})
    yield Text(
        "Method: Liu, Eckstein, Wang, Feuerhake, Merhof: Spatial transcriptomics expression prediction from "
        "histopathology based on cross-modal mask reconstruction and contrastive learning, Medical Image Analysis "
        "108, 103889 (2025)."
    )
    yield Text(RESEARCH_USE, "banner")
