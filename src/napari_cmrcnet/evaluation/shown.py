"""What views and figures show: a gene, or the score of a panel, measured or predicted, and how well it is predicted."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.metrics import mean_z, pcc_in_words
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.evaluation.colour_limits import Limits, colour_limits, hardly_varies
from napari_cmrcnet.evaluation.figures import COLOURS
from napari_cmrcnet.evaluation.headline import (
    COVERS,
    HARDLY_VARIES,
    MEASURED_ONLY,
    PREDICTED_ONLY,
    headline,
    section_of,
)
from napari_cmrcnet.evaluation.plot_style import PANEL_UNIT, SHORT_UNIT, UNIT
from napari_cmrcnet.retrieval.trust import NOTHING, Trust, trust_of, trust_of_panel

if TYPE_CHECKING:
    from napari_cmrcnet.evaluation.scores import Scores
    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.sections.panels import Panel

Float32 = npt.NDArray[np.float32]
Kind = Literal["predicted", "measured"]

OF_SCORES = ("pcc", "undefined", "low", "high", "spearman", "partial_pcc")  # what `Shown` has of the scores' table


@dataclass(frozen=True, eq=False)
class Shown:
    """The gene, or the score of a panel, that all views or a figure show.

    Parameters
    ----------
    name : str
        The gene's symbol or the panel's name.
    kind : "gene" or "panel"
        What it is.
    unit : str
        Of the values.
    predicted, measured : float32 (n,) or None
        One value per spot; None where it is not predicted, or was not measured. One of them is there.
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
        The spots that count in the correlations, see `Case.counted_spots`; all if not given.
    section : str
        Whose values they are, see `section_of`.
    trust : Trust
        How far its prediction can be trusted.
    hidden : bool (n,), optional
        Spots that are not drawn, as they are not above a threshold; all are drawn if not given.
    each : {"spot", "bin", "cell"}
        Of what a value is.
    limits : (float, float), optional
        Of the colours of a figure; those of `colour_limits` if not given.
    colours : str
        Name of its colour map.
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
    limits: Limits | None = None
    colours: str = COLOURS

    def __len__(self) -> int:
        values = self.measured if self.predicted is None else self.predicted
        return 0 if values is None else len(values)

    def values(self, kind: Kind) -> Float32:
        """Return the predicted or the measured values, which must be there."""
        values = self.measured if kind == "measured" else self.predicted
        assert values is not None
        return values

    def reliable(self, kind: Kind) -> Float32:
        """Return the values that a threshold is found from: predicted ones all, measured ones of spots that count.

        The single counts of a nearly empty spot are extreme once normalised, and would have the threshold for
        themselves.
        """
        values = self.values(kind)
        return values if kind == "predicted" or self.counted is None else values[self.counted]

    @property
    def scored(self) -> bool:
        """Whether there is something to compare: it is both measured and predicted."""
        return self.measured is not None and self.predicted is not None

    @property
    def maps(self) -> dict[str, Float32]:
        """The values that are there, by what they are, the measured ones first."""
        both = {"measured": self.measured, "predicted": self.predicted}
        return {kind: values for kind, values in both.items() if values is not None}

    @property
    def score(self) -> str:
        """PCC with its interval, or why there is none; how far it can be trusted; whether the prediction varies."""
        if self.predicted is None:
            return MEASURED_ONLY
        if self.measured is None:
            said = PREDICTED_ONLY
        elif np.isnan(self.pcc):
            said = f"PCC undefined ({self.undefined})" if self.undefined else "PCC undefined"
        else:
            interval = "" if np.isnan(self.low) else f" (95 % {self.low:z.2f} to {self.high:z.2f})"
            said = f"PCC {self.pcc:z.2f}{interval}"
        said = " · ".join(filter(None, [said, self.trust.word]))
        return f"{said}   {HARDLY_VARIES}" if self.flat else said

    @property
    def title(self) -> str:
        """Section, name, score and number of spots, bins or cells, in one line."""
        hidden = "" if self.hidden is None else f"{count_text(int(self.hidden.sum()), self.each)} hidden"
        return "   ".join(filter(None, [self.section, headline(self.name, self.score), self.n, hidden]))

    @property
    def spots(self) -> int:
        """Spots that count in the score; all of what has none."""
        return int(self.counted.sum()) if self.scored and self.counted is not None else len(self)

    @property
    def n(self) -> str:
        """How many spots the score is over, ``"n = 179 of 181 spots"``."""
        return f"n = {count_text(self.spots, self.each, len(self))}"

    @property
    def scale(self) -> Limits:
        """The limits of the colours of a figure."""
        return self.limits or colour_limits(*self.maps.values(), unit=self.unit)

    @property
    def full_unit(self) -> str:
        """The unit of the values in full; colour bars of the window have a short one."""
        return UNIT if self.kind == "gene" else self.unit

    @property
    def said(self) -> str:
        """Of the score, in sentences."""
        if self.predicted is None:
            return ""
        if self.measured is None:
            said = "Predicted only: it was not measured."
        else:
            said = f"{pcc_in_words(self.pcc, self.low, self.high)}{f' ({self.undefined})' if self.undefined else ''}"
            said += f", {self.n}: those with enough counts." if self.spots < len(self) else "."
        said = f"{said} The {HARDLY_VARIES}." if self.flat else said
        return " ".join(filter(None, [said, self.trust.said]))

    @property
    def tip(self) -> str:
        """What the title leaves out: why it can be trusted or not, other correlations, which spots count."""
        reasons = "\n".join(filter(None, [self.trust.word.capitalize(), *(f"• {text}" for text in self.trust.reasons)]))
        if not self.scored or self.undefined:
            return reasons
        lines = [reasons, f"Pearson correlation (PCC) of predicted and measured: {self.pcc:z.2f}."]
        if not np.isnan(self.spearman):
            lines.append(f"Spearman's: {self.spearman:z.2f}.")
        if not np.isnan(self.partial_pcc):
            lines.append(f"Partial PCC, with the effect of sequencing depth removed: {self.partial_pcc:z.2f}.")
        if left_out := len(self) - self.spots:
            lines.append(
                f"Left out of scores, not of maps: {count_text(left_out, self.each, len(self))} (too few counts)."
            )
        if not np.isnan(self.low):
            lines.append(f"The interval covers {COVERS}.")
        return "\n".join(filter(None, lines))


def gene_shown(case: "Case", gene: str, scores: "Scores | None") -> Shown:
    """Return a gene of a case, by symbol or Ensembl id, with its interval where there are scores.

    Raises
    ------
    UserError
        If the case does not have it, or needs a checkpoint for it that has moved.
    """
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
    if scores is not None and shown.name in scores.table.index:
        known: dict[str, Any] = {name: scores.table.at[shown.name, name] for name in OF_SCORES}
        shown = replace(shown, counted=scores.scored, **known)
    return replace(shown, trust=trust_of(case.prediction, shown.name, shown.pcc, shown.low, flat=shown.flat))


def panel_shown(case: "Case", panel: "Panel") -> Shown:
    """Return the score of a panel: the mean over its genes of their signed z-scores over the section's spots.

    Raises
    ------
    UserError
        If the case has none of its genes.
    """
    shown = panel_score(case, panel)
    if shown.predicted is None:
        return shown
    genes = [gene_shown(case, gene, None).trust for gene in panel_genes(case, panel)]
    return replace(shown, trust=trust_of_panel(genes, shown.pcc, flat=shown.flat))


def panel_score(case: "Case", panel: "Panel") -> Shown:
    """Return what `panel_shown` does, but for how far the score can be trusted, which takes each gene's values."""
    genes = panel_genes(case, panel)
    both = [gene for gene in genes if gene in case.measured_set]
    values = None if case.prediction is None else case.prediction.expression(genes)
    truth = case.measured(both) if both else None
    against = {case.names.column(gene) for gene in panel.down}  # which the case may call otherwise
    signs = {gene: -1 if case.names.column(gene) in against else 1 for gene in genes}
    predicted = None if values is None else mean_z(values, [signs[gene] for gene in genes])
    measured = None if truth is None else mean_z(truth, [signs[gene] for gene in both])
    flat = values is not None and hardly_varies(values)
    return _scored(case, panel.name, "panel", PANEL_UNIT, predicted, measured, flat)


def panel_genes(case: "Case", panel: "Panel") -> list[str]:
    """Return a panel's genes that a case has, by the case's names.

    Raises
    ------
    UserError
        If it has none.
    """
    names = case.names
    columns = names.known(panel.genes)
    if not columns:
        raise UserError(f"{case.name} has none of the genes of the panel “{panel.name}”; choose another panel.")
    return [names.symbols[column] for column in columns]


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
    from napari_cmrcnet.sections.score_filter import one_pcc  # takes a second to import

    counted = case.counted_spots()
    correlation, reason = one_pcc(measured, predicted, counted, gene=kind == "gene")
    shown = Shown(name, kind, unit, predicted, measured, correlation, reason, flat=flat)
    return replace(shown, counted=counted, section=section_of(case), each=case.unit)
