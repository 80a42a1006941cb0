"""What all views show: a gene, or the score of a panel, measured or predicted, and how well it is predicted."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.retrieval.trust import NOTHING, Trust, trust_of
from napari_cmrcnet.viewer.display_settings import VIEWS, View

if TYPE_CHECKING:
    from napari_cmrcnet.evaluation.scores import Scores
    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.sections.panels import Panel

Float32 = npt.NDArray[np.float32]

OF_SCORES = ("low", "high", "spearman", "partial_pcc")  # what `Shown` has of the scores' table


@dataclass(frozen=True, eq=False)
class Shown:
    """The gene, or the score of a panel, that all views show.

    Parameters
    ----------
    name : str
        The gene's symbol or the panel's name.
    kind : "gene" or "panel"
        What it is.
    unit : str
        Of the values.
    predicted, measured : float32 (n,) or None
        A value a spot; None where it is not predicted, or was not measured. One of them is there.
    pcc : float
        Their Pearson correlation over the spots that count, NaN where it is undefined.
    undefined : str
        Why the correlation is undefined, ``""`` where it is not.
    low, high : float
        Its 95 % bootstrap interval, NaN while it is not known.
    flat : bool
        Whether the prediction hardly varies.
    spearman, partial_pcc : float
        Spearman's correlation, and the partial one given depth; NaN while they are not known, and of a panel.
    counted : bool (n,), optional
        The spots that count in the correlations, see `counted_spots`; all if not given.
    section : str
        Whose values they are, see `section_of`.
    trust : Trust
        How far the prediction of a gene can be trusted; nothing is known of a panel.
    hidden : bool (n,), optional
        Spots that are not drawn, as they are not above a threshold; all are drawn if not given.
    each : {"spot", "bin", "cell"}
        Of what a value is.
    """

    name: str
    kind: Literal["gene", "panel"]
    unit: str
    predicted: Float32 | None
    measured: Float32 | None
    pcc: float
    undefined: str
    low: float = float("nan")
    high: float = float("nan")
    flat: bool = False
    spearman: float = float("nan")
    partial_pcc: float = float("nan")
    counted: npt.NDArray[np.bool_] | None = None
    section: str = ""
    trust: Trust = NOTHING
    hidden: npt.NDArray[np.bool_] | None = None
    each: str = "spot"

    def __len__(self) -> int:
        values = self.measured if self.predicted is None else self.predicted
        return 0 if values is None else len(values)

    @property
    def scored(self) -> bool:
        """Whether there is something to compare: it is both measured and predicted."""
        return self.measured is not None and self.predicted is not None

    @property
    def score(self) -> str:
        """PCC with its interval, or why there is none."""
        from napari_cmrcnet.evaluation.headline import score_line

        return score_line(
            self.measured is not None,
            self.pcc,
            self.low,
            self.high,
            undefined=self.undefined,
            flat=self.flat,
            trust=self.trust.word,
            predicted=self.predicted is not None,
        )

    @property
    def title(self) -> str:
        """Section, name, score and number of spots, bins or cells, in one line."""
        from napari_cmrcnet.evaluation.headline import headline
        from napari_cmrcnet.sections.score_filter import spots_in_words

        n = f"n = {spots_in_words(self.spots, len(self), self.each)}"
        hidden = "" if self.hidden is None else f"{int(self.hidden.sum()):,} {self.each}s hidden"
        return "   ".join(filter(None, [self.section, headline(self.name, self.score), n, hidden]))

    @property
    def spots(self) -> int:
        """Spots that count in the score; all of what has none."""
        return int(self.counted.sum()) if self.scored and self.counted is not None else len(self)

    @property
    def tip(self) -> str:
        """What the title leaves out: why it can be trusted or not, other correlations, which spots count."""
        from napari_cmrcnet.evaluation.headline import score_tip

        reasons = "\n".join(filter(None, [self.trust.word.capitalize(), *(f"• {text}" for text in self.trust.reasons)]))
        if not self.scored or self.undefined:
            return reasons
        interval = not np.isnan(self.low)
        tip = score_tip(self.pcc, self.spearman, self.partial_pcc, self.spots, len(self), interval)
        return "\n".join(filter(None, [reasons, tip]))


def gene_shown(case: "Case", gene: str, scores: "Scores | None") -> Shown:
    """Return a gene of a case, by symbol or Ensembl id, with its interval where there are scores.

    Raises
    ------
    UserError
        If the case does not have it, or needs a checkpoint for it that has moved.
    """
    from napari_cmrcnet.evaluation.colour_limits import hardly_varies
    from napari_cmrcnet.evaluation.plot_style import SHORT_UNIT

    column = case.all_names.column(gene)
    name = gene if column is None else case.all_names.symbols[column]
    only_measured = case.prediction is None or len(case.genes) <= (column or 0)
    prediction = None if only_measured else case.prediction
    predicted = None if prediction is None else prediction.gene(name)
    measured = case.measured([name]) if only_measured or name in case.measured_set else None
    flat = predicted is not None and hardly_varies(predicted)
    shown = _scored(case, name, "gene", SHORT_UNIT, predicted, None if measured is None else measured[:, 0], flat)
    return with_scores(case, shown, scores)


def with_scores(case: "Case", shown: Shown, scores: "Scores | None") -> Shown:
    """Return a gene that is shown with what the scores of all genes say of it, and how far it can be trusted."""
    if case.prediction is None or shown.predicted is None or shown.kind != "gene":
        return shown
    shown = replace(shown, **of_scores(scores, shown.name))
    return replace(shown, trust=trust_of(case.prediction, shown.name, shown.pcc, shown.low, flat=shown.flat))


def panel_shown(case: "Case", panel: "Panel") -> Shown:
    """Return the score of a panel: the mean over its genes of their signed z-scores over the section's spots.

    Raises
    ------
    UserError
        If the case has none of its genes.
    """
    from napari_cmrcnet.evaluation.panel_score import panel_score
    from napari_cmrcnet.evaluation.plot_style import PANEL_UNIT

    score = panel_score(case, panel)
    return _scored(case, panel.name, "panel", PANEL_UNIT, score.predicted, score.measured, score.flat)


def views_of(shown: Shown, case: "Case | None", classes: bool) -> tuple[View, ...]:
    """Return the views of which there is something to see, in the order of `VIEWS`; of the spots' classes if any."""
    prediction = None if case is None else case.prediction
    there = {
        "measured": shown.measured is not None,
        "predicted": shown.predicted is not None,
        "difference": shown.scored,
        "local PCC": shown.scored and bool(case and case.provenance.mpp),
        "confidence": prediction is not None and not prediction.provenance.external,
        "classes": classes,
    }
    return tuple(view for view in VIEWS if there[view])


def first_shown(
    case: "Case", panels: "Mapping[str, Panel]", scores: "Scores | None", remembered: Mapping[str, Any]
) -> Shown | None:
    """Return what a case remembers, else its first marker, else the gene that is expected to be predicted best.

    Where nothing is expected, it is the gene of the highest mean of a section that is only measured, and else the first
    gene; None where the case has no gene.
    """
    shown, kind = remembered.get("shown"), remembered.get("kind")
    if kind == "panel" and isinstance(shown, str) and shown in panels:
        return panel_shown(case, panels[shown])
    markers = case.panel.genes if case.panel is not None else ()
    asked = [gene for gene in (shown, *markers) if isinstance(gene, str)]
    known = next((gene for gene in asked if case.all_names.column(gene) is not None), None)
    if known is None and not case.genes:
        return None
    return gene_shown(case, known or case.genes[_most_telling(case)], scores)


def _most_telling(case: "Case") -> int:
    """Return the place of the gene that is shown first."""
    if case.prediction is None:
        return int(case.measured_means().argmax())
    expected = case.prediction.expected
    return 0 if expected is None else int(np.nan_to_num(expected[:, 0], nan=-1).argmax())


def _scored(
    case: "Case",
    name: str,
    kind: Literal["gene", "panel"],
    unit: str,
    predicted: Float32 | None,
    measured: Float32 | None,
    flat: bool,
) -> Shown:
    """Return what is shown with its correlation."""
    from napari_cmrcnet.evaluation.headline import section_of
    from napari_cmrcnet.evaluation.scores import counted_spots
    from napari_cmrcnet.sections.score_filter import one_pcc

    counted = counted_spots(case)
    correlation, reason = one_pcc(measured, predicted, counted, gene=kind == "gene")
    shown = Shown(name, kind, unit, predicted, measured, correlation, reason, flat=flat)
    return replace(shown, counted=counted, section=section_of(case), each=case.unit)


def of_scores(scores: "Scores | None", gene: str) -> dict[str, Any]:
    """Return what `Shown` has of the scores of all genes; nothing where they are not known."""
    if scores is None or gene not in scores.table.index:
        return {}
    row = scores.table.index.get_loc(gene)
    return {name: float(scores.table[name].to_numpy()[row]) for name in OF_SCORES}
