"""Genes and the score of a panel over several sections: by section, class of spots, and patient."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.evaluation.localise import otsu
from napari_cmrcnet.evaluation.region_scores import annotations
from napari_cmrcnet.evaluation.shown import Shown, gene_shown, panel_score
from napari_cmrcnet.retrieval.project import ProjectCase, regions_of
from napari_cmrcnet.sections.score_filter import one_pcc

if TYPE_CHECKING:
    import pandas as pd

    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.sections.panels import Panel

Bools = npt.NDArray[np.bool_]

KINDS = ("predicted", "measured")
ALL = "all spots"  # that count


@dataclass(frozen=True, eq=False)
class SectionValues:
    """What a cohort table needs of one section, without the section.

    Parameters
    ----------
    name, patient : str
        The section's.
    counted : bool (n,)
        The spots that count in a correlation.
    classes : mapping of str to mapping of str to bool (n,)
        Classes of spots in its file, and its regions, see `annotations`.
    shown : mapping of str to Shown
        The genes and the panel that the section has, as they were asked for; a panel without its trust.
    """

    name: str
    patient: str
    counted: Bools
    classes: Mapping[str, Mapping[str, Bools]]
    shown: Mapping[str, Shown]

    @classmethod
    def of(
        cls, case: "Case", genes: Sequence[str], panel: "Panel | None" = None, view: Mapping[str, Any] | None = None
    ) -> "SectionValues":
        """Return those of a case, with the regions of a view, or of its own."""
        shown = {gene: gene_shown(case, gene, None) for gene in genes if case.names.column(gene) is not None}
        if panel is not None:
            with suppress(UserError):  # the section has none of its genes
                shown[panel.name] = panel_score(case, panel)
        classes = annotations(case, regions_of(case.view if view is None else view))
        return cls(case.name, case.provenance.patient, case.counted_spots(), classes, shown)


def cohort_table(cases: "Sequence[Case]", genes: Sequence[str], panel: "Panel | None" = None) -> "pd.DataFrame":
    """Return means, spread, shares above a threshold, and PCC, of genes and the score of a panel.

    Parameters
    ----------
    cases : sequence of Case
        Of one section each, predicted or only measured.
    genes : sequence of str
        Symbols or Ensembl ids; a section that lacks one has no rows of it.
    panel : Panel, optional
        Whose score is looked at, too. Its z-scores are those within a section: sections differ in its spread, not
        in its mean.
    """
    names = [*genes, *([] if panel is None else [panel.name])]
    return table_of([SectionValues.of(case, genes, panel) for case in cases], names)


def table_of(sections: Sequence[SectionValues], names: Sequence[str]) -> "pd.DataFrame":
    """Return a row for each gene or panel, group, and class of spots.

    Parameters
    ----------
    sections : sequence of SectionValues
        What the table is of.
    names : sequence of str
        Which genes and panels, in the order of the table.

    Returns
    -------
    DataFrame
        ``level`` is ``"section"`` or ``"patient"``; a patient's row is the mean over its sections, each counting
        alike, with the number of ``sections``. ``source`` and ``class`` are of `annotations`, or "" and "all spots".
        ``spots``, those that count, over which all is; ``trust``, a section's; then for predicted and measured
        ``KIND_mean``, ``KIND_sd``, ``KIND_share_above``, the share above ``KIND_threshold``, which is Otsu's over the
        spots of all sections; ``pcc``, and ``pcc_sd``, its standard deviation over a patient's sections. NaN where
        there is none.
    """
    import pandas as pd

    rows: list[dict[str, object]] = []
    for name in dict.fromkeys(names):
        known = [section for section in sections if name in section.shown]
        limits = {kind: _threshold(known, name, kind) for kind in KINDS}
        for section in known:
            rows += _rows(section, name, limits)
    table = pd.DataFrame(rows)
    return table if table.empty else pd.concat([table, _by_patient(table)], ignore_index=True)


def cohort_job(
    entries: Sequence[ProjectCase], gene: str, panel: "Panel | None" = None, known: "Mapping[int, Case] | None" = None
) -> "Job[tuple[tuple[SectionValues, ...], tuple[str, ...]]]":
    """Read the cases of a list, one after the other, for a cohort table.

    Parameters
    ----------
    entries : sequence of ProjectCase
        The list; one with neither prediction nor spots has nothing to say and is passed over.
    gene : str
        What is compared.
    panel : Panel, optional
        Compared in place of it.
    known : mapping of int to Case, optional
        Those that are open and need not be read, by their rows.

    Returns
    -------
    tuple of SectionValues, tuple of str
        By the names and patients of the list; and why cases are left out, in a sentence each.

    Raises
    ------
    UserError
        If two cases have the same name: they could not be told apart.
    """
    opened = known or {}
    rows = [row for row, entry in enumerate(entries) if entry.prediction or entry.spots or row in opened]
    check_names([entries[row].name for row in rows])
    found, left_out = [], []
    for done, row in enumerate(rows):
        yield Progress("Reading cases", done, len(rows), "cases")
        entry = entries[row]
        try:
            case = opened[row] if row in opened else _read(entry)
            values = SectionValues.of(case, () if panel else (gene,), panel, entry.view or None)
        except UserError as error:
            left_out.append(f"{entry.name} is left out: {error}")
            continue
        found.append(replace(values, name=entry.name, patient=values.patient or entry.patient))
    return tuple(found), tuple(left_out)


def check_names(names: Sequence[str]) -> None:
    """Refuse sections of the same name, which a table could not tell apart."""
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"Several cases are of a section named {', '.join(repeated)}; give one of each section.")


def _read(entry: ProjectCase) -> "Case":
    if entry.prediction:
        from napari_cmrcnet.retrieval.prediction import Prediction

        return Prediction.load(Path(entry.prediction))
    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.sections.spots import open_spots

    return Case.of(open_spots(Path(entry.spots), library=entry.library, normalised=True), entry.name)


def _threshold(sections: Sequence[SectionValues], name: str, kind: str) -> float:
    """Return Otsu's threshold over the spots that count of all sections."""
    found = [one.shown[name].maps[kind][one.counted] for one in sections if kind in one.shown[name].maps]
    try:
        return otsu(np.concatenate(found)) if found else float("nan")
    except UserError:
        return float("nan")


def _rows(section: SectionValues, name: str, limits: Mapping[str, float]) -> Iterator[dict[str, object]]:
    shown = section.shown[name]
    groups = [("", ALL, np.ones(len(section.counted), bool))]
    groups += [(source, of, spots) for source, classes in section.classes.items() for of, spots in classes.items()]
    for source, of, members in groups:
        spots = members & section.counted
        row: dict[str, object] = {
            "gene": name,
            "level": "section",
            "patient": section.patient,
            "section": section.name,
            "sections": 1,
            "source": source,
            "class": of,
            "spots": int(spots.sum()),
            "trust": shown.trust.word,
        }
        for kind in KINDS:
            here = shown.maps[kind][spots].astype(np.float64) if kind in shown.maps else np.empty(0)
            row[f"{kind}_mean"] = here.mean() if here.size else np.nan
            row[f"{kind}_sd"] = here.std(ddof=1) if here.size > 1 else np.nan
            known_share = here.size and np.isfinite(limits[kind])
            row[f"{kind}_share_above"] = (here > limits[kind]).mean() if known_share else np.nan
            row[f"{kind}_threshold"] = limits[kind]
        row["pcc"], _ = one_pcc(shown.measured, shown.predicted, spots, gene=shown.kind == "gene")
        row["pcc_sd"] = np.nan
        yield row


def _by_patient(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return the means over each patient's sections; sections whose patient is not known stand for none."""
    known = table[table["patient"] != ""]
    numbers = [column for column in table.columns if column.endswith(("_mean", "_sd", "_share_above", "_threshold"))]
    found = known.groupby(["gene", "patient", "source", "class"], sort=False)
    means = found[[*numbers, "pcc"]].mean()
    means["pcc_sd"] = found["pcc"].std()
    means["sections"], means["spots"] = found.size(), found["spots"].sum()
    return means.reset_index().assign(level="patient", section="", trust="")[list(table.columns)]
