"""What should be known of a prediction before it is run: one list for every way to run one."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_cmrcnet.common.progress import Job
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.retrieval.card import Card
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.compatibility import check_genes, totals_in_common, two_species
from napari_cmrcnet.retrieval.encoder_entry import fields_of
from napari_cmrcnet.retrieval.genes import GeneNames
from napari_cmrcnet.retrieval.known_genes import BankSummary
from napari_cmrcnet.retrieval.leaks import leak, unknown_patient
from napari_cmrcnet.sections.tissue import TissueMask, tissue_job
from napari_cmrcnet.sections.totals import total_genes

if TYPE_CHECKING:
    from napari_cmrcnet.sections.section import Section

ENLARGED = 1.1  # slide pixels so much larger than the model's are noticed
FAR_ENLARGED = 2.0  # a patch has less than a quarter of the pixels: likely a reduced image in the place of the slide
OVERLAPPING = 0.75  # of a patch's side: Visium's spots of 100 µm hardly share what patches of 112 µm show
ON_TISSUE = 0.9  # share of spots below which they may be misplaced
SOME_ON_TISSUE = 0.8  # share below which fat is no longer a likely reason
MISPLACED = 0.05  # share of spots more that would lie on tissue elsewhere, above which they are misplaced
NEAR_ALL = ((0.1, 1.0), (0.2, 2 / 3), (float("inf"), 1 / 3))
"""Up to which temperature of the weights, which share of the bank may be averaged; without weights the least.

Above it, values vary a fifth less over a slide's spots than with k = 50 without weights, or still less (median of the
50 genes of highest variance; C2, C3 and C4 of HER2ST, each predicted from the other two: 367 spots). They vary 0.88,
0.59 and 0.29 times as much with a quarter, a half and three quarters of the bank; at a temperature of 0.2, 0.98, 0.85
and 0.77 times; at 0.1, never less.
"""
OF_THIS_SLIDE = "Are the spots of this section, and aligned to this slide?"
IN_COMMON = 0.5  # share of the measured genes below which names may differ


@dataclass(frozen=True)
class Check:
    """One line of the list before the run.

    Parameters
    ----------
    ok : bool
        Green; else amber: the run is possible, but the user should know.
    text : str
        A sentence.
    asks : bool
        Whether the run is so surely a mistake that a window asks before it.
    """

    ok: bool
    text: str
    asks: bool = False


def warnings_in(checks: Iterable[Check]) -> tuple[str, ...]:
    """Return what a list of checks warns of, which a prediction keeps."""
    return tuple(check.text for check in checks if not check.ok)


def preflight_job(section: "Section", checkpoint: Checkpoint, k: int | None = None) -> Job[tuple[Check, ...]]:
    """Check that a section fits a checkpoint.

    Pixel size, spots on tissue, genes in common, training sections and patients, k, simulated data. What the
    section's own notes say is amber.

    Parameters
    ----------
    section : Section
        What is to be predicted.
    checkpoint : Checkpoint
        What it is to be predicted with.
    k : int, optional
        Neighbours behind a value; the checkpoint's own if not given.

    Raises
    ------
    UserError
        If the run is impossible, as `Checkpoint.neighbours` and `check_genes`; or an overview of the slide cannot be
        read.
    """
    card, bank, k = checkpoint.card, checkpoint.summary, checkpoint.neighbours(k)
    check_genes(section, bank.names)
    tissue = yield from tissue_job(section.slide, section.mpp)
    checks = [
        _pixel_size(section, card),
        _on_tissue(section, tissue),
        _genes(section, bank),
        _neighbours(card, bank, k),
    ]
    _, leaked = leak(section.name, section.patient, card.sections, card.patients, card.validated_on)
    if section.measured:  # else there will be no score that could be too good
        leaked = leaked or unknown_patient(section.name, section.patient, card.patients)
    checks.append(Check(not leaked, leaked or "Neither the section nor its patient was in the training."))
    more = (_field(section, card), _totals(section, bank), _synthetic(section, card))
    checks += [check for check in more if check is not None]
    checks += [Check(False, note) for note in amber_notes(section)]
    return tuple(checks)


def amber_notes(section: "Section") -> list[str]:
    """Return those of a section's notes that warn; that it has a grid is no more than it was asked for."""
    return [note for note in section.notes if not note.startswith("No spots were given")]


def _pixel_size(section: "Section", card: Card) -> Check:
    patch, mpp = card.preprocessing.patch, section.mpp
    side = patch.patch_px * patch.model_mpp
    larger = mpp / patch.model_mpp
    if larger > FAR_ENLARGED:
        return Check(
            False,
            f"A pixel is {mpp:.4g} µm, {larger:.1f} times the model's {patch.model_mpp:g} µm. A patch of {side:g} "
            f"µm has {side / mpp:.0f} pixels a side, but the model was trained on {patch.patch_px}. Is this the "
            "full-resolution slide?",
        )
    if larger > ENLARGED:
        return Check(
            False,
            f"A pixel is {mpp:.4g} µm, larger than the model's {patch.model_mpp:g} µm. Patches of {side:g} µm are "
            f"enlarged and show less detail than a scan at {patch.model_mpp:g} µm.",
        )
    return Check(True, f"A pixel is {mpp:.4g} µm, fine enough for the model's {patch.model_mpp:g} µm.")


def _field(section: "Section", card: Card) -> Check | None:
    """Say from how far around a value comes, where spots lie closer to each other than that."""
    patch, about = card.preprocessing.patch, section.origin
    side, pitch = patch.patch_px * patch.model_mpp, about.pitch_px * section.mpp
    fields = [patch] if card.encoder is None else fields_of(card.encoder.encoder)
    widest = max(field.patch_px * field.model_mpp for field in fields)
    around = f"Each value comes from {widest:g} µm around"
    if about.unit != "spot":
        unit = about.unit
        return Check(False, f"{around} a {unit}, not from the {unit} alone: the {unit}s are not pooled.")
    if not 0 < pitch < OVERLAPPING * side:
        return None
    return Check(True, f"{around} a spot. Spots lie {pitch:.0f} µm apart: neighbours share much of what is seen.")


def _on_tissue(section: "Section", tissue: TissueMask) -> Check:
    share = float(tissue.contains(section.xy).mean())
    text = f"{100 * share:.0f} % of the {count_text(len(section.xy), 'spot')} lie on tissue"
    if share >= ON_TISSUE:
        return Check(True, f"{text}.")
    shift = tissue.best_shift(section.xy)
    best = float(tissue.contains(section.xy + shift).mean())
    if best - share >= MISPLACED:
        where = _in_words(*(shift * section.mpp))
        return Check(False, f"{text}; {100 * best:.0f} % would if all were moved {where}. {OF_THIS_SLIDE}")
    pale = f"{text}; the others lie on glass, or on fat, which is as pale"
    if share < SOME_ON_TISSUE:
        return Check(False, f"{pale}. {OF_THIS_SLIDE}")
    return Check(True, f"{pale}. Moving them would not place clearly more of them on tissue.")


def _in_words(x: float, y: float) -> str:
    """Return a shift in µm as directions on the screen, to 10 µm: it was found on a coarse mask."""
    parts = ((x, "to the right", "to the left"), (y, "down", "up"))
    said = [
        f"{abs(round(length, -1)):,.0f} µm {more if length > 0 else less}"
        for length, more, less in parts
        if abs(length) >= 5
    ]
    return f"about {' and '.join(said)}" if said else "slightly"


def _genes(section: "Section", bank: BankSummary) -> Check:
    genes = len(bank.names.symbols)
    if not section.measured:
        said = f"Predicted without a comparison: {count_text(genes, 'gene')}."
        return Check(True, f"This section has no measured expression. {said}")
    measured = GeneNames.of(section.spots.var)
    common = measured.number_in(bank.names)
    text = f"Measured here: {common:,} of the bank's {count_text(genes, 'gene')}"
    if common < IN_COMMON * min(genes, section.spots.n_vars):
        why = two_species(measured, bank.names) or "Are both of one species, with the same kind of gene names?"
        return Check(False, f"{text}, which is few. {why}")
    return Check(True, f"{text}.")


def _totals(section: "Section", bank: BankSummary) -> Check | None:
    common = totals_in_common(section, bank)
    if common is None:
        return None
    over, both = count_text(total_genes(section.spots), "gene"), count_text(int(common.sum()), "gene")
    return Check(
        False,
        f"The spots' totals are over {over}, those of the bank over other genes. Measured and predicted values are "
        f"normalised over the {both} in common. Do not compare them with values of other sections.",
    )


def _neighbours(card: Card, bank: BankSummary, k: int) -> Check:
    temperature = card.weight_temperature
    reach = float("inf") if temperature is None else temperature
    if k > next(share for most, share in NEAR_ALL if reach <= most) * bank.spots:
        return Check(
            False,
            f"k is {k} of {count_text(bank.spots, 'bank spot')}, so every value is near the mean of the whole bank. A "
            "smaller k tells spots apart more clearly.",
        )
    mean = "mean" if temperature is None else "weighted mean"
    return Check(True, f"Each value is the {mean} of {k} of the bank's {count_text(bank.spots, 'spot')}.")


def _synthetic(section: "Section", card: Card) -> Check | None:
    if section.origin.synthetic:
        return Check(False, f"{section.name} is synthetic. Its scores say nothing about real tissue.")
    if card.synthetic:
        return Check(
            False,
            f"The checkpoint was trained on synthetic sections and knows nothing about real tissue. {section.name} "
            "is not marked as synthetic.",
            asks=True,
        )
    return None
