"""``summary.md`` and ``summary.json``: the report for people and for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from napari_cmrcnet.common.text import markdown_text
from napari_cmrcnet.evaluation.headline import COVERS
from napari_cmrcnet.evaluation.resampling import RESAMPLES
from napari_cmrcnet.evaluation.score_notes import sets_in_words
from napari_cmrcnet.evaluation.scores import Scores
from napari_cmrcnet.evaluation.set_scores import SETS, SetScore, between
from napari_cmrcnet.retrieval.expected import COLUMNS, GOOD
from napari_cmrcnet.sections.score_filter import MIN_SPOTS, spots_in_words

PARTIAL = (
    "The partial PCC is the correlation that is left when the effect of sequencing depth (the log of a spot's "
    "total counts, and its square) is removed from measured and predicted values."
)
"""What the column of partial correlations is."""


def summary(
    scores: Sequence[Scores], sets: Mapping[str, SetScore], warnings: Sequence[str], seed: int
) -> dict[str, Any]:
    """Return what ``summary.json`` holds."""
    return {
        **{name: sets[name].as_dict() for name in SETS},
        "between_sections": {
            name: asdict(one) if (one := between([scored.sets[name] for scored in scores])) else None for name in SETS
        },
        "spots": sum(len(scored.scored) for scored in scores),
        "spots_scored": sum(scored.spots for scored in scores),
        "interval": {
            "level": 0.95,
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
        **{name: scored.sets[name].as_dict() for name in SETS},
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


def plain(value: Any) -> Any:
    """Return what JSON can hold: paths and NumPy scalars become text and numbers, NaN null."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def markdown(
    scores: Sequence[Scores],
    sets: Mapping[str, SetScore],
    warnings: Sequence[str],
    files: Sequence[Path],
    nan_as_zero: bool,
) -> str:
    """Return the text of ``summary.md``."""
    names = markdown_text(", ".join(scored.section for scored in scores))
    lines = [f"# Predicted against measured expression: {names}", ""]
    lines += [f"> **Note.** {markdown_text(warning)}" + "\n" for warning in warnings]
    lines += [
        "Mean Pearson correlation (PCC) of genes over the spots of a section, with 95 % intervals (bootstrap over "
        f"blocks of neighbouring spots). An interval is about the spots: {COVERS}.",
        "",
        *_set_table(scores, sets),
        "",
        *_between(scores),
        sets_in_words(scores),
        "",
        _counted_in_words(nan_as_zero),
        "",
        PARTIAL,
        "",
    ]
    for scored in scores:
        lines += _section_text(scored)
    pictures = [path for path in files if path.suffix == ".png"]
    lines += ["## Pictures", ""] + [f"![{path.stem}]({path.name.replace(' ', '%20')})" + "\n" for path in pictures]
    return "\n".join(lines)


def _counted_in_words(nan_as_zero: bool) -> str:
    undefined = "count as 0 in the means" if nan_as_zero else "are left out of the means"
    return (
        f"A gene that was found at fewer than {MIN_SPOTS} of the spots, or is constant, has no score; such genes "
        f"{undefined} and are counted under “no score”."
    )


def _set_table(scores: Sequence[Scores], sets: Mapping[str, SetScore]) -> list[str]:
    lines = [
        "| section | spots | genes | set | PCC | 95 % interval | partial PCC | Spearman | genes counted | no score |"
    ]
    lines += ["|---|---:|---:|---|---:|---|---:|---:|---:|---:|"]
    for scored in scores:
        spots = spots_in_words(scored.spots, len(scored.scored)).removesuffix(" spots")
        lines += [
            _row(markdown_text(scored.section), spots, len(scored.table), name, scored.sets[name]) for name in SETS
        ]
    if len(scores) > 1:
        total = f"{sum(scored.spots for scored in scores):,}"
        lines += [_row("**mean of all**", total, "", name, sets[name]) for name in SETS]
    return lines


def _between(scores: Sequence[Scores]) -> list[str]:
    """Return how the sections differ, nothing for one."""
    if len(scores) < 2:
        return []
    lines = ["How the mean PCC differs between the sections, which an interval does not cover:", ""]
    lines += ["| set | sections | standard deviation | least | greatest |", "|---|---:|---:|---:|---:|"]
    for name in SETS:
        if one := between([scored.sets[name] for scored in scores]):
            lines.append(f"| {name} | {one.sections} | {one.sd:.3f} | {one.low:.3f} | {one.high:.3f} |")
    return [*lines, ""]


def _row(section: str, spots: str, genes: int | str, name: str, values: SetScore) -> str:
    bounds = "–" if values.low is None or values.high is None else f"{values.low:.3f} to {values.high:.3f}"
    figures = [figure(values.pcc), bounds, figure(values.partial_pcc), figure(values.spearman)]
    return f"| {section} | {spots} | {genes} | {name} | {' | '.join(figures)} | {values.n} | {values.undefined} |"


def figure(value: float | None) -> str:
    """Return three decimals, a dash where there is nothing."""
    return "–" if value is None or np.isnan(value) else f"{value:.3f}"


def _section_text(scored: Scores) -> list[str]:
    lines = [f"## {markdown_text(scored.section)}", "", f"Sequencing depth: {scored.depth}.", ""]
    lines += _structure(scored)
    lines += _expected(scored)
    if scored.panel:
        lines += [f"Markers: {markdown_text(scored.panel)}.", ""]
    if scored.missing_markers:
        lines += [f"Not measured, or not in the checkpoint: {markdown_text(', '.join(scored.missing_markers))}.", ""]
    best = scored.table[scored.table.pcc.notna()].sort_values("pcc", ascending=False, kind="stable").head(10)
    for heading, rows in (("Best predicted", best), ("Markers", scored.table[scored.table.markers])):
        if len(rows):
            lines += [
                f"{heading}:",
                "",
                "| gene | spots found | PCC | 95 % interval | partial PCC | Spearman | RMSE | trust |",
            ]
            lines += ["|---|---:|---:|---|---:|---:|---:|---|"]
            lines += [_gene_row(gene, row) for gene, row in zip(rows.index, rows.to_dict("records"), strict=True)]
            lines += [""]
    known = {key: value for key, value in plain(scored.provenance).items() if value not in (None, "", [], {})}
    said_above = "warnings"
    simple = {key: value for key, value in known.items() if key != said_above and not isinstance(value, dict)}
    lines += ["How the prediction was made:", ""]
    lines += [f"- {key}: {markdown_text(_short(value))}" for key, value in simple.items()] + [""]
    return lines


def _structure(scored: Scores) -> list[str]:
    """Return how much spatial structure measured and predicted expression have."""
    means = structure(scored)
    if means["measured"] is None:
        return []
    return [
        (
            f"Spatial structure: Moran's I of the HVG is {figure(means['measured'])} measured and "
            f"{figure(means['predicted'])} predicted, on average (0: neighbouring spots are unrelated, 1: alike). "
            "Predictions are smoother than measurements, which are noisy from spot to spot."
        ),
        "",
    ]


def _expected(scored: Scores) -> list[str]:
    """Return how the PCC of genes came out beside what the checkpoint had expected."""
    if COLUMNS[0] not in scored.table:
        return []
    both = scored.table[[COLUMNS[0], "pcc"]].dropna()
    good = both.pcc[both[COLUMNS[0]] >= GOOD]
    if len(both) < 3:
        return []
    alike = both[COLUMNS[0]].corr(both.pcc)
    said = f"Expected accuracy: over {len(both):,} genes the expected PCC correlates {alike:.2f} with the PCC found."
    if len(good):
        said += f" Of {len(good):,} genes expected above {GOOD:g}, {(good > GOOD - 0.1).mean():.0%} came out above "
        said += f"{GOOD - 0.1:.1f}."
    return [said, ""]


def structure(scored: Scores) -> dict[str, float | None]:
    """Return the mean of Moran's I over the HVG, measured and predicted; None while it is not known."""
    hvg = scored.table[scored.table.HVG]
    means = {of: float(hvg[f"{of}_morans_i"].mean()) for of in ("measured", "predicted")}
    return {of: None if np.isnan(mean) else mean for of, mean in means.items()}


def _gene_row(gene: str, row: Mapping[Any, Any]) -> str:
    bounds = "–" if np.isnan(row["low"]) else f"{row['low']:.3f} to {row['high']:.3f}"
    scores = [row["undefined"] or figure(row["pcc"]), bounds, *(figure(row[of]) for of in ("partial_pcc", "spearman"))]
    return (
        f"| {markdown_text(gene)} | {row['spots_found']} | {' | '.join(scores)} | {row['rmse']:.3f} | {row['trust']} |"
    )


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(entry) for entry in value[:20]) + (", …" if len(value) > 20 else "")
    return f"{value:.6g}" if isinstance(value, float) else str(value)
