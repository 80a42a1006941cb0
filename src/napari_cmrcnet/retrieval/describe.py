"""What a file or folder is: a slide, spots, a sheet, a checkpoint or a prediction, and what is wrong with it."""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.suffixes import SLIDES, ends_in
from napari_cmrcnet.common.text import count_text, some_of
from napari_cmrcnet.slides.slide import open_slide

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.card import Card
    from napari_cmrcnet.retrieval.checkpoint import Checkpoint
    from napari_cmrcnet.sections.formats.origin import Origin

# What only some kinds need is imported where it is described: a slide should not wait for the packages that read spots.


@dataclass(frozen=True)
class Description:
    """What something is.

    Parameters
    ----------
    kind : str
        "slide", "spots", "sheet", "checkpoint", "prediction" or "installation".
    facts : dict of str to str
        What there is to say of it, with units.
    problems : tuple of str
        What is wrong with it or should be known, a sentence each.
    values : mapping of str to object
        The facts for programs: numbers, texts, and lists and mappings of these.
    """

    kind: str
    facts: dict[str, str]
    problems: tuple[str, ...]
    values: Mapping[str, Any]


def describe(path: str | os.PathLike[str], *, library: str = "") -> Description:
    """Open a path as what it is and describe it; of spots the section of that name, see `open_spots`.

    Raises
    ------
    UserError
        If it does not exist or cannot be opened, with the reason.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist; check the path.")
    if path.is_file() and ends_in(path.name, SLIDES) and not library:
        return _slide(path)
    return _not_by_ending(path, library)


def _not_by_ending(path: Path, library: str) -> Description:
    from napari_cmrcnet.retrieval.card import CARD
    from napari_cmrcnet.sections.sheet import is_sheet

    if path.suffix == ".cmrcnet" or (path / CARD).is_file():
        if library:
            raise UserError(f"{path} is a checkpoint, which holds no sections to choose from.", "library")
        return _checkpoint(path)
    if path.suffix.lower() == ".csv" and is_sheet(path):
        return _sheet(path)

    from napari_cmrcnet.retrieval.prediction_file import is_prediction
    from napari_cmrcnet.sections.spots import is_spots

    if path.suffix.lower() == ".h5ad" and is_prediction(path) and not library:
        return _prediction(path)
    if library or is_spots(path):
        return _spots(path, library)
    return _slide(path)


EXTRAS = ("napari", "PySide6", "PyQt6", "openslide-bin", "fastslide", "spatialdata", "distributed")
"""What a report of a problem should name beside `PACKAGES`, where it is installed."""


def describe_installation() -> Description:
    """Describe what is installed on this machine, as a report of a problem should."""
    from napari_cmrcnet.common.device import choose_device
    from napari_cmrcnet.common.versions import PACKAGES, package_versions

    versions = package_versions((*PACKAGES, *EXTRAS))
    about = {"Python": platform.python_version(), "system": platform.platform(), "device": str(choose_device())}
    return Description("installation", {**versions, **about}, (), {"packages": versions, **about})


def _slide(path: Path) -> Description:
    with open_slide(path) as slide:
        height, width = slide.shape
        facts = {
            "format": slide.format,
            "size": f"{width:,} × {height:,} px",
            "levels": ", ".join(f"{level.width} × {level.height}" for level in slide.levels),
            "pixel size": f"{slide.mpp:.4g} µm/px ({slide.mpp_source})" if slide.mpp else "unknown",
        }
        if slide.mpp:
            facts["extent"] = f"{width * slide.mpp / 1000:.2f} × {height * slide.mpp / 1000:.2f} mm"
        problems = [*slide.notes, *([slide.mpp_note] if slide.mpp_note else [])]
        if not slide.mpp:
            problems.append("The slide's own pixel size is not known: predict needs its spots' lattice, or --mpp.")
        values = {
            "format": slide.format,
            "levels": [asdict(level) for level in slide.levels],
            "mpp": slide.mpp,
            "mpp_source": slide.mpp_source,
        }
    return Description("slide", facts, tuple(problems), values)


def _spots(path: Path, library: str) -> Description:
    from napari_cmrcnet.sections.formats.origin import KEY, Origin
    from napari_cmrcnet.sections.pixel_size import PixelSize, pixel_size
    from napari_cmrcnet.sections.spots import open_spots
    from napari_cmrcnet.sections.totals import least_counts, totals_of

    spots = open_spots(path, library=library, normalised=True)
    about = Origin.of(spots)
    facts = {
        "source": about.source,
        "spots": f"{spots.n_obs:,}",
        "a spot is": _unit(about),
        "genes": f"{spots.n_vars:,}" if spots.X is not None else "none: positions only",
        "platform": about.platform or "unknown",
        "lattice pitch": f"{about.pitch_px:.1f} px" if about.pitch_px else "none found",
    }
    try:
        size = pixel_size(spots, None)
    except UserError:  # the slide's tag may say it, or the user
        size = PixelSize(0.0, "")
    facts["pixel size"] = f"{size.um:.4g} µm/px ({size.source})" if size.um else "not known without the slide"
    if spots.X is not None and not about.normalised:
        totals, least = totals_of(spots), least_counts(spots.n_vars)
        facts[f"counts per {about.unit}"] = f"{totals.min():,.0f} to {totals.max():,.0f}, mean {totals.mean():,.0f}"
        facts["not scored"] = f"{count_text(int((totals < least).sum()), about.unit)} with fewer than {least} counts"
    if about.synthetic:
        facts["synthetic"] = "yes: simulated, not measured"
    values = {"spots": spots.n_obs, "genes": spots.n_vars, "mpp": size.um or None, "mpp_source": size.source}
    return Description("spots", facts, (*about.notes, *size.disagreements), {**values, **spots.uns[KEY]})


def _sheet(path: Path) -> Description:
    from napari_cmrcnet.sections.sheet import read_sheet

    rows = read_sheet(path)
    patients = sorted({row.patient for row in rows} - {""})
    sections = [row.section for row in rows]
    facts = {
        "sections": f"{len(rows):,}: {some_of(sections)}",
        "with spots": f"{sum(row.spots is not None for row in rows):,}",
        "patients": f"{len(patients):,}: {some_of(patients)}" if patients else "not named",
    }
    return Description("sheet", facts, (), {"sections": sections, "patients": patients})


def _unit(about: "Origin") -> str:
    if about.unit == "cell":
        return "a segmented cell"
    side = f" of {about.pitch_um:g} µm" if about.pitch_um else ""
    return f"a bin{side}" if about.unit == "bin" else "a spot of the array"


def _checkpoint(path: Path) -> Description:
    from napari_cmrcnet.retrieval.card import epochs_in_words
    from napari_cmrcnet.retrieval.checkpoint import Checkpoint
    from napari_cmrcnet.retrieval.expected import over_in_words
    from napari_cmrcnet.retrieval.protocol import average_in_words
    from napari_cmrcnet.retrieval.trust import trust_in_model

    checkpoint = Checkpoint.open(path)
    checkpoint.verify()  # to read both would take seconds, for torch and anndata
    card, bank = checkpoint.card, checkpoint.summary
    patch = card.preprocessing.patch
    facts = {
        "model": _model(card),
        "trained on": ", ".join(card.sections),
        "patients": ", ".join(patient for patient in card.patients if patient) or "not named",
        "epochs": epochs_in_words(card) + (f" (seed {card.seed})" if card.epochs else ""),
        "validation PCC": "none" if card.validation_pcc is None else f"{card.validation_pcc:.3f}",
        "validated on": ", ".join(card.validated_on) or "no section held out",
        "bank": f"{count_text(bank.spots, 'spot')}, {count_text(len(bank.names.symbols), 'gene')}",
        "genes the model reads": f"{len(card.genes):,}, log-normalised to {_target(card)}",
        "totals cover": ", ".join(f"{count_text(n, 'gene')} ({name})" for name, n in card.total_genes.items())
        or "not known",
        "patches": f"{patch.patch_px} px at {patch.model_mpp:g} µm/px",
        "colours": _colours(card),
        "query": _query(card),
        "each value is": f"the {average_in_words(checkpoint.neighbours(), card.query.weighted)}",
        "licences": " ".join(card.terms) or "none named",
        "panel": card.panel.name if card.panel else "none",
        "expected PCC over": over_in_words(card.expected_over, len(card.sections), len(card.patients)),
        "made with": ", ".join(f"{name} {version}" for name, version in card.packages.items()),
    }
    if (entry := card.encoder) is not None:
        place = entry.source or entry.encoder.package.get("name", "in the checkpoint")
        facts["weights of the encoder"] = f"{place} (SHA-256 {entry.weights[:16]}…)"
    if card.similarity_floor is not None:
        facts["out of distribution"] = f"spots whose best similarity is below {card.similarity_floor:.3f}"
    if bank.expected is not None:
        facts["trust in the genes"] = trust_in_model(bank.expected, bank.found, card.expected_over)
    problems = []
    try:
        facts["thumbnails"] = _thumbnails(checkpoint)
    except UserError as error:
        problems.append(str(error))
    if card.synthetic:
        facts["synthetic"] = "yes: trained on simulated sections"
    values = {"bank_spots": bank.spots, "bank_genes": len(bank.names.symbols), "card": asdict(card)}
    return Description("checkpoint", facts, tuple(problems), values)


def _model(card: "Card") -> str:
    if card.encoder is not None:
        encoder = card.encoder.encoder
        return f"linear heads on {encoder.title}, frozen, trained on {encoder.trained_on} ({encoder.licence})"
    clip = ", CLIP's loss" if card.model.contrast == "clip" else ""
    return f"{card.model.image_encoder} ({card.model.variant} variant{clip})"


def _target(card: "Card") -> str:
    target_sum = card.preprocessing.target_sum
    return "each section's median total" if isinstance(target_sum, str) else f"{target_sum:,.10g} counts per spot"


def _query(card: "Card") -> str:
    from napari_cmrcnet.retrieval.encoder_entry import fields_of

    if card.encoder is not None:
        *near, far = (f"{spec.patch_px * spec.model_mpp:g}" for spec in fields_of(card.encoder.encoder))
        return f"{', '.join(near)} and {far} µm around the spot, and the {far} µm of the spots around it"
    query = card.query
    parts = ["the mean of a patch's eight flips and turns" if query.test_time_augmentation else "the patch at the spot"]
    if query.neighbourhood_smoothing:
        parts.append(f"{query.neighbourhood_smoothing:g} times the spots around it")
    return " and ".join(parts)


def _colours(card: "Card") -> str:
    if card.encoder is not None:
        return "as scanned; features are standardised in each section"
    return "normalised in each section" if card.preprocessing.colour_normalisation else "as scanned"


def _thumbnails(checkpoint: "Checkpoint") -> str:
    thumbnails = checkpoint.thumbnails
    if thumbnails is None:
        return "none: the spots behind a value cannot be shown"
    tissue = "simulated tissue" if checkpoint.card.synthetic else "tissue of the training patients"
    return f"{len(thumbnails):,} of {thumbnails.side} px: {tissue}"


def _prediction(path: Path) -> Description:
    from napari_cmrcnet.retrieval.leaks import warnings_of
    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.retrieval.trust import trust_in_genes

    prediction = Prediction.load(path)
    made = prediction.provenance
    facts = {
        "section": made.section,
        "slide": made.slide,
        "spots": f"{len(prediction):,}",
        "spots from": "a grid over the tissue" if made.spots == made.slide else made.spots,
        "checkpoint": made.checkpoint,
        "each value is": f"the {made.average}",
        "pixel size": f"{made.mpp:.4g} µm/px ({made.mpp_source})",
        "measured": count_text(len(prediction.measured_genes), "gene") if prediction.measured_genes else "no",
        "predicted": count_text(len(prediction.genes), "gene"),
        "totals cover": count_text(made.total_genes, "measured gene") if made.total_genes else "nothing measured",
        "panel": made.panel.name if made.panel else "none",
        "tissue": made.likeness.verdict if made.likeness else "not known whether it is like the training tissue",
        "expected PCC over": made.over,
        "computed": f"on {made.device} in {made.precision}" if made.device else "without a network",
        "date": made.date,
    }
    if prediction.expected is not None:
        facts["trust in the genes"] = trust_in_genes(prediction)
    values = {
        "spots": len(prediction),
        "genes": len(prediction.genes),
        "measured_genes": len(prediction.measured_genes),
        "provenance": asdict(made),
    }
    return Description("prediction", facts, (*warnings_of([prediction]), *made.notes), values)
