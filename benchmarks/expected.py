"""Expected against held-out accuracy: each section of a sheet left out, and predicted by a frozen model of the others.

usage: python -m benchmarks.expected SHEET

Prints for each section, over genes: the correlation of the expected PCC with the PCC on the section, their means, and
how the genes of each grade came out; then the same for the partial PCC given depth; then how many of its values lie in
their 90 % intervals. Each section counts as a patient of its own. docs/expected.md has the tables.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.evaluation.scores import pcc_job
from napari_cmrcnet.retrieval.expected import COLUMNS
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.trust import TRUSTS, levels_of
from napari_cmrcnet.sections.depth import partial_pcc
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.sections.sheet import read_sheet
from napari_cmrcnet.training.config import FitConfig
from napari_cmrcnet.training.fit import fit

HEADER = ("left out", "genes", "r", "mean expected", "mean found", *(f"{name}: n, >0.2, >0.1, mean" for name in TRUSTS))


def tables(sections: list[Section]) -> Iterator[pd.DataFrame]:
    """Yield, for each section, the scores of the genes that have both an expected PCC and one on the section."""
    config = FitConfig(variant="frozen", thumbnails=False)
    for held in sections:
        others = [section for section in sections if section is not held]
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = finish(fit(others, config, Path(folder) / "one.cmrcnet"))
            yield scores_of(finish(predict(held, checkpoint)))


def scores_of(prediction: Prediction) -> pd.DataFrame:
    """Return the PCC of each gene, the partial one given depth, and what was expected of both."""
    scores = finish(pcc_job(prediction))
    table, genes, counted = scores.table, list(scores.table.index), scores.scored
    measured, predicted = (
        np.asarray(values)[counted] for values in (prediction.measured(genes), prediction.expression(genes))
    )
    partial = partial_pcc(measured, predicted, np.asarray(prediction.totals)[counted])
    off, width = np.abs(measured - predicted), prediction.bank.interval[prediction.names.columns(genes, "The bank")]
    table = table.assign(covered=(off <= width).mean(axis=0), width=width, found_at=(measured > 0).mean(axis=0))
    return table.assign(left_out=prediction.name, partial_pcc=np.where(table.pcc.isna(), np.nan, partial))


def line(table: pd.DataFrame, expected: str, found: str) -> str:
    """Return a row of the table in Markdown."""
    both = table[["left_out", expected, found]].dropna()
    levels = levels_of(both[expected].to_numpy())
    cells = [both.left_out.iloc[0], f"{len(both):,}", f"{both[expected].corr(both[found]):.2f}"]
    cells += [f"{both[name].mean():.3f}" for name in (expected, found)]
    for level in range(len(TRUSTS)):
        values = both[found].to_numpy()[levels == level]
        shares = (f"{np.mean(values > limit):.0%}" for limit in (0.2, 0.1))
        cells.append(f"{len(values):,}, {', '.join(shares)}, {values.mean():.2f}" if len(values) else "0")
    return f"| {' | '.join(cells)} |"


def coverage(table: pd.DataFrame) -> str:
    """Return a row of the table of intervals: all genes, and those found at half of the section's spots or more."""
    common = table[table.found_at >= 0.5]
    cells = [table.left_out.iloc[0]]
    for some in (table, common):
        low, high = some.covered.quantile([0.05, 0.95])
        cells += [
            f"{len(some):,}",
            f"{some.covered.mean():.1%}",
            f"{low:.0%} to {high:.0%}",
            f"±{some.width.median():.2f}",
        ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the tables."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    with ExitStack() as slides:
        sections = []
        for row in read_sheet(Path(sys.argv[1])):
            sections.append(replace(row.open(), patient=row.section))
            slides.enter_context(sections[-1].slide)
        found = list(tables(sections))
    for title, names in (("PCC", (COLUMNS[0], "pcc")), ("partial PCC, given depth", (COLUMNS[1], "partial_pcc"))):
        print(f"\n{title}\n", f"| {' | '.join(HEADER)} |", "|---" * len(HEADER) + "|", sep="\n")
        print(*(line(table, *names) for table in found), sep="\n")
    kinds = (f"{name}: {cell}" for name in ("all", "common") for cell in ("genes", "covered", "90 % of genes", "width"))
    print("\n90 % intervals\n", f"| left out | {' | '.join(kinds)} |", "|---" * 9 + "|", sep="\n")
    print(*map(coverage, found), sep="\n")


if __name__ == "__main__":
    main()
