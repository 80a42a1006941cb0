"""The report of one or several predictions: tables, a summary for people and one for programs, and pictures."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import atomic_file, write_json
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.spreadsheet import safe_text
from napari_cmrcnet.evaluation.leaks import warnings_of
from napari_cmrcnet.evaluation.pictures import draw_section, draw_sets
from napari_cmrcnet.evaluation.resampling import RESAMPLES
from napari_cmrcnet.evaluation.scores import SETS, Scores, SetScore, combine, score_job

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.sections.panels import Panel

SUMMARY = "summary.json"


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
    """

    out: Path
    sets: Mapping[str, SetScore]
    sections: tuple[Scores, ...]
    warnings: tuple[str, ...]
    files: tuple[Path, ...]


def evaluate(
    predictions: "Sequence[Prediction]",
    out: str | os.PathLike[str],
    *,
    panel: "Panel | None" = None,
    seed: int = 0,
    nan_as_zero: bool = False,
) -> Job[Report]:
    """Score predictions against measured expression and write the report.

    Writes ``scores.csv`` (a row a gene and section), ``summary.md``, pictures, and ``summary.json`` last: a folder
    that has it is complete. Other files in the folder are left alone.

    Parameters
    ----------
    predictions : sequence of Prediction
        Of measured sections.
    out : path
        The folder; made if missing.
    panel : Panel, optional
        Marker genes; those of each prediction if not given.
    seed : int
        Of the bootstrap.
    nan_as_zero : bool
        Count undefined PCC as 0 in the means of sets, as published tables do.

    Returns
    -------
    Report

    Raises
    ------
    UserError
        If there is no prediction, two are of sections of the same name, one cannot be scored, or a file cannot be
        written.
    """
    _check(predictions, seed)
    out = Path(out)
    scores = []
    for prediction in predictions:
        scores.append((yield from score_job(prediction, panel, seed, nan_as_zero=nan_as_zero)))
    sets = {name: combine(scores, name) for name in SETS}
    warnings = warnings_of(predictions)
    if nan_as_zero:
        warnings += ("Undefined PCC are counted as 0, as in published tables.",)
    if out.is_dir():
        (out / SUMMARY).unlink(missing_ok=True)  # a report that is half replaced must not look complete
    files = [_write_table(out / "scores.csv", scores)]
    for done, (prediction, scored) in enumerate(zip(predictions, scores, strict=True)):
        yield Progress("Drawing pictures", done, len(scores), "sections")
        for path in draw_section(prediction, scored, out):
            files.append(path)
            yield Progress("Drawing pictures", done, len(scores), "sections")
    files += draw_sets(predictions, scores, out)
    files.append(_write_text(out / "summary.md", _markdown(scores, sets, warnings, files, nan_as_zero)))
    write_json(out / SUMMARY, _summary(scores, sets, warnings, seed))
    yield Progress("Drawing pictures", len(scores), len(scores), "sections")
    return Report(out, sets, tuple(scores), warnings, (*files, out / SUMMARY))


def _check(predictions: "Sequence[Prediction]", seed: int) -> None:
    if seed < 0:
        raise UserError(f"The seed is {seed}; give 0 or more.")
    if not predictions:
        raise UserError("There is no prediction to score; give one or more .h5ad files written by predict.")
    names = [prediction.name for prediction in predictions]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(
            f"Several predictions are of a section named {', '.join(repeated)}; score them one at a time, "
            "each with an --out of its own."
        )


def _write_table(path: Path, scores: Sequence[Scores]) -> Path:
    import pandas as pd

    parts = []
    for scored in scores:
        part = scored.table.reset_index()
        part.insert(0, "section", scored.section)
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    for column in ("section", "gene"):
        table[column] = table[column].astype(str).map(safe_text)
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
    return path


def _write_text(path: Path, text: str) -> Path:
    with atomic_file(path) as temporary:
        temporary.write_text(text, "utf-8")
    return path


def _summary(
    scores: Sequence[Scores], sets: Mapping[str, SetScore], warnings: Sequence[str], seed: int
) -> dict[str, Any]:
    return {
        **{name: sets[name].as_dict() for name in SETS},
        "spots": sum(scored.spots for scored in scores),
        "interval": {"level": 0.95, "over": "blocks of neighbouring spots", "resamples": RESAMPLES, "seed": seed},
        "warnings": list(warnings),
        "sections": [
            {
                "section": scored.section,
                **{name: scored.sets[name].as_dict() for name in SETS},
                "spots": scored.spots,
                "genes": len(scored.table),
                "panel": scored.panel,
                "missing_markers": list(scored.missing_markers),
                "provenance": _plain(scored.provenance),
            }
            for scored in scores
        ],
    }


def _plain(value: Any) -> Any:
    """Return what JSON can hold: paths and NumPy scalars become text and numbers, NaN null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _markdown(
    scores: Sequence[Scores],
    sets: Mapping[str, SetScore],
    warnings: Sequence[str],
    files: Sequence[Path],
    nan_as_zero: bool,
) -> str:
    undefined = "count as 0 in the means" if nan_as_zero else "are left out of the means"
    names = ", ".join(scored.section for scored in scores)
    lines = [f"# Predicted against measured expression: {names}", ""]
    lines += [f"> **Note.** {warning}" + "\n" for warning in warnings]
    lines += [
        "Mean Pearson correlation (PCC) of genes over the spots of a section, with 95 % intervals",
        "(bootstrap over blocks of neighbouring spots).",
        "",
    ]
    lines += ["| section | spots | genes | set | PCC | 95 % interval | genes counted | undefined |"]
    lines += ["|---|---:|---:|---|---:|---|---:|---:|"]
    for scored in scores:
        lines += [_row(scored.section, scored.spots, len(scored.table), name, scored.sets[name]) for name in SETS]
    if len(scores) > 1:
        spots = sum(scored.spots for scored in scores)
        lines += [_row("**mean of all**", spots, "", name, sets[name]) for name in SETS]
    lines += [
        "",
        "HEG and HVG: the 50 genes of highest mean and of highest variance of the section's measured "
        "log-normalised expression, among the genes that the checkpoint predicts. A PCC is undefined where "
        f"a gene is constant or there are fewer than 3 spots; undefined ones {undefined}.",
        "",
    ]
    for scored in scores:
        lines += _section_text(scored)
    pictures = [path for path in files if path.suffix == ".png"]
    lines += ["## Pictures", ""] + [f"![{path.stem}]({path.name.replace(' ', '%20')})" + "\n" for path in pictures]
    return "\n".join(lines)


def _row(section: str, spots: int, genes: int | str, name: str, values: SetScore) -> str:
    if values.pcc is None:
        figures = "– | – "
    else:
        bounds = "–" if values.low is None or values.high is None else f"{values.low:.3f} to {values.high:.3f}"
        figures = f"{values.pcc:.3f} | {bounds} "
    return f"| {section} | {spots} | {genes} | {name} | {figures}| {values.n} | {values.undefined} |"


def _section_text(scored: Scores) -> list[str]:
    lines = [f"## {scored.section}", ""]
    if scored.panel:
        lines += [f"Markers: {scored.panel}.", ""]
    if scored.missing_markers:
        lines += [f"Not measured, or not in the checkpoint: {', '.join(scored.missing_markers)}.", ""]
    best = scored.table[scored.table.pcc.notna()].sort_values("pcc", ascending=False, kind="stable").head(10)
    for heading, rows in (("Best predicted", best), ("Markers", scored.table[scored.table.markers])):
        if len(rows):
            lines += [f"{heading}:", "", "| gene | PCC | 95 % interval | Spearman | RMSE |", "|---|---:|---|---:|---:|"]
            lines += [_gene_row(gene, row) for gene, row in zip(rows.index, rows.to_dict("records"), strict=True)]
            lines += [""]
    known = {key: value for key, value in _plain(scored.provenance).items() if value not in (None, "", [], {})}
    simple = {key: value for key, value in known.items() if not isinstance(value, dict)}
    lines += ["What was run on what:", ""]
    lines += [f"- {key}: {_short(value)}" for key, value in simple.items()] + [""]
    return lines


def _gene_row(gene: str, row: Mapping[Any, Any]) -> str:
    if row["undefined"]:
        return f"| {gene} | {row['undefined']} | – | – | {row['rmse']:.3f} |"
    pcc, low, high, spearman, rmse = (f"{row[name]:.3f}" for name in ("pcc", "low", "high", "spearman", "rmse"))
    return f"| {gene} | {pcc} | {low} to {high} | {spearman} | {rmse} |"


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(entry) for entry in value[:20]) + (", …" if len(value) > 20 else "")
    return f"{value:.6g}" if isinstance(value, float) else str(value)
