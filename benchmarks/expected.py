"""Expected against held-out accuracy: each section of a sheet left out, and predicted by a frozen model of the others.

usage: python -m benchmarks.expected SHEET

Prints for each section, over genes: the correlation of the expected PCC with the PCC on the section, their means, and
how the genes of each grade came out; then the same for the partial PCC given depth. docs/expected.md has the table.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd

from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.evaluation.scores import pcc_job
from napari_cmrcnet.retrieval.expected import COLUMNS, GRADES, grade
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.sections.depth import partial_pcc
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.sections.sheet import read_sheet
from napari_cmrcnet.training.config import FitConfig
from napari_cmrcnet.training.fit import fit

HEADER = ("left out", "genes", "r", "mean expected", "mean found", *(f"{name}: n, >0.2, >0.1, mean" for name in GRADES))


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
    return table.assign(left_out=prediction.name, partial_pcc=np.where(table.pcc.isna(), np.nan, partial))


def line(table: pd.DataFrame, expected: str, found: str) -> str:
    """Return a row of the table in Markdown."""
    both = table[["left_out", expected, found]].dropna()
    grades = both[expected].map(grade)
    cells = [both.left_out.iloc[0], f"{len(both):,}", f"{both[expected].corr(both[found]):.2f}"]
    cells += [f"{both[name].mean():.3f}" for name in (expected, found)]
    for name in GRADES:
        values = both[found][grades == name].to_numpy()
        shares = (f"{np.mean(values > limit):.0%}" for limit in (0.2, 0.1))
        cells.append(f"{len(values):,}, {', '.join(shares)}, {values.mean():.2f}" if len(values) else "0")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the tables."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    with ExitStack() as slides:
        sections = []
        for row in read_sheet(Path(sys.argv[1])):
            sections.append(row.open())
            slides.enter_context(sections[-1].slide)
        found = list(tables(sections))
    for title, names in (("PCC", (COLUMNS[0], "pcc")), ("partial PCC, given depth", (COLUMNS[1], "partial_pcc"))):
        print(f"\n{title}\n", f"| {' | '.join(HEADER)} |", "|---" * len(HEADER) + "|", sep="\n")
        print(*(line(table, *names) for table in found), sep="\n")


if __name__ == "__main__":
    main()
