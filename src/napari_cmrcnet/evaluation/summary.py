"""``summary.md`` and ``summary.json``: the report for people and for programs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cmrcnet.common.text import plain
from napari_cmrcnet.evaluation.document import Heading, Part, Picture, Text
from napari_cmrcnet.evaluation.headline import COVERS
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
from napari_cmrcnet.evaluation.scores import Scores
from napari_cmrcnet.evaluation.set_scores import SETS, SetScore, between

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.prediction import Prediction


def summary(
    scores: Sequence[Scores], sets: Mapping[str, SetScore], warnings: Sequence[str], seed: int
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
        "sections": [_of_section(scored) for scored in scores],
    }


def _of_section(scored: Scores) -> dict[str, Any]:
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
        "provenance": plain(scored.provenance),
    }


def summary_parts(
    predictions: "Sequence[Prediction]",
    scores: Sequence[Scores],
    warnings: Sequence[str],
    files: Sequence[Path],
    nan_as_zero: bool,
) -> Iterator[Part]:
    """Yield what ``summary.md`` says."""
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
    yield Heading("Pictures")
    yield from (Picture(path.name, path.stem) for path in files if path.suffix == ".png")
