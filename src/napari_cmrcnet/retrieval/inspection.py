"""A look at slide, spots and checkpoint before a prediction: what each is, and whether they fit.

Nothing here needs torch: the checkpoint is known by its card and by the shape of its bank.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.text import count_text, some_of
from napari_cmrcnet.retrieval.card import Card
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.compatibility import check_genes
from napari_cmrcnet.retrieval.known_genes import BankSummary
from napari_cmrcnet.retrieval.preflight import Check, preflight_job
from napari_cmrcnet.retrieval.ready_folder import ReadyPredictor, ready_in
from napari_cmrcnet.retrieval.trust import trust_in_model
from napari_cmrcnet.sections.spots import libraries_of

if TYPE_CHECKING:
    from napari_cmrcnet.sections.section import Section
    from napari_cmrcnet.slides.slide import Slide

Part = Literal["slide", "spots", "checkpoint"]


@dataclass(frozen=True)
class Request:
    """What the user asks to predict.

    Parameters
    ----------
    slide : Path or None
        The slide; None while none is chosen.
    spots : Path or None
        Where the spots are from; None for a grid over the tissue.
    checkpoint : Path or None
        The checkpoint folder, or that of a ready predictor.
    k : int or None
        Neighbours behind a value; None for the checkpoint's own.
    mpp : float or None
        µm per full-resolution pixel by the user; None to find it.
    pitch_um : float
        Distance between the spots of the grid, in µm.
    patient : str
        The patient that the section is from, ``""`` where not said.
    library : str
        The section to read, of a spots file that holds several.
    pool : str
        To what cells or bins are pooled, see `pool_for`.
    """

    slide: Path | None = None
    spots: Path | None = None
    checkpoint: Path | None = None
    k: int | None = None
    mpp: float | None = None
    pitch_um: float = 100.0
    patient: str = ""
    library: str = ""
    pool: str = ""


@dataclass(frozen=True, eq=False)
class Inspection:
    """What was found.

    Parameters
    ----------
    request : Request
        What was asked.
    slide : Slide or None
        The open slide.
    section : Section or None
        Slide and spots together.
    predictor : ReadyPredictor or None
        What takes the place of a checkpoint.
    lines : mapping of part to str
        One line of what each part is.
    problems : mapping of part to UserError
        Why a part cannot be used.
    checks : tuple of Check
        What `preflight` found.
    libraries : tuple of str
        The sections that the spots' file holds, where it holds several.
    """

    request: Request
    slide: "Slide | None" = None
    section: "Section | None" = None
    predictor: ReadyPredictor | None = None
    lines: Mapping[Part, str] = field(default_factory=dict)
    problems: Mapping[Part, UserError] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    libraries: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether the prediction can be run."""
        return self.section is not None and "checkpoint" in self.lines and not self.problems


def inspect(request: Request, before: Inspection | None = None) -> Job[Inspection]:
    """Look at what the user has chosen so far.

    Parameters
    ----------
    request : Request
        The choices.
    before : Inspection, optional
        What was found before; a slide or section that did not change is not opened again.

    Returns
    -------
    Inspection
        What is wrong with a part stands in ``problems``; no UserError is raised.
    """
    lines: dict[Part, str] = {}
    problems: dict[Part, UserError] = {}
    slide, section, checkpoint = None, None, None
    libraries = before.libraries if before is not None and before.request.spots == request.spots else ()
    if request.spots is not None:
        libraries = libraries_of(request.spots) or libraries
    if request.slide is not None:
        yield Progress("Opening the slide", 0, 0)
        with _told(problems, "slide"):
            slide = _slide(request.slide, before)
            lines["slide"] = _slide_line(slide)
    if slide is not None:
        yield Progress("Reading the spots" if request.spots else "Finding the tissue", 0, 0)
        with _told(problems, "spots"):
            section = _section(slide, request, before)
            lines["spots"] = _spots_line(section)
        if "spots" in problems:
            libraries = problems["spots"].choices or libraries
    predictor = None if request.checkpoint is None else ready_in(request.checkpoint)
    if predictor is not None:
        lines["checkpoint"] = f"{predictor.name}, a ready predictor for {predictor.about}; it uses no training spots"
        with _told(problems, "checkpoint"):
            predictor.check_installed()
    elif request.checkpoint is not None:
        yield Progress("Reading the checkpoint's card", 0, 0)
        with _told(problems, "checkpoint"):
            checkpoint = Checkpoint.open(request.checkpoint)
            lines["checkpoint"] = _checkpoint_line(checkpoint.card, checkpoint.summary)
    checks: tuple[Check, ...] = ()
    if section is not None and checkpoint is not None and "checkpoint" not in problems:
        yield Progress("Checking that they fit", 0, 0)
        with _told(problems, "spots"):
            check_genes(section, checkpoint.summary.names)
        with _told(problems, "checkpoint"):
            checkpoint.neighbours(request.k)
        if not problems:
            with _told(problems, "slide"):  # a part of it is read only now
                checks = yield from preflight_job(section, checkpoint, request.k)
    return Inspection(request, slide, section, predictor, lines, problems, checks, libraries)


@contextmanager
def _told(problems: dict[Part, UserError], part: Part) -> Iterator[None]:
    """Keep why a part cannot be used."""
    try:
        yield
    except UserError as reason:
        problems[part] = reason


def _slide(path: Path, before: Inspection | None) -> "Slide":
    from napari_cmrcnet.slides.slide import open_slide

    if before is not None and before.slide is not None and before.request.slide == path:
        with suppress(UserError):  # it was changed: it is opened again
            before.slide.check_unchanged()
            return before.slide
    return open_slide(path)


def _section(slide: "Slide", request: Request, before: Inspection | None) -> "Section":
    from dataclasses import replace

    from napari_cmrcnet.sections.section import open_section

    if before is not None and before.section is not None and before.slide is slide:
        known = before.request
        same = all(getattr(known, name) == getattr(request, name) for name in ("spots", "library", "pool", "mpp"))
        if same and (request.spots is not None or known.pitch_um == request.pitch_um):
            patient = request.patient or (before.section.patient if not known.patient else "")
            return replace(before.section, patient=patient)
    return open_section(
        slide,
        request.spots,
        patient=request.patient,
        mpp=request.mpp,
        pitch_um=request.pitch_um,
        library=request.library,
        pool=request.pool,
        normalised=True,
    )


def _slide_line(slide: "Slide") -> str:
    height, width = slide.shape
    size = f"{slide.mpp:.4g} µm per pixel ({slide.mpp_source})" if slide.mpp else "pixel size unknown"
    return f"{slide.format}, {width:,} × {height:,} pixels, {size}"


def _spots_line(section: "Section") -> str:
    spots = section.spots
    genes = f"{count_text(spots.n_vars, 'gene')} measured" if section.measured else "nothing measured"
    size = f"{section.mpp:.4g} µm per pixel from {section.pixel_size.source}"
    return f"{section.origin.source}: {count_text(spots.n_obs, 'spot')}, {genes}; {size}"


def _checkpoint_line(card: Card, bank: BankSummary) -> str:
    trained = some_of(card.sections, 4)
    if bank.expected is not None:
        accuracy = f"trust in the genes: {trust_in_model(bank.expected, bank.found, card.expected_over)}"
    else:
        accuracy = "no validation PCC" if card.validation_pcc is None else f"validation PCC {card.validation_pcc:.2f}"
    synthetic = ", synthetic" if card.synthetic else ""
    size = f"bank of {count_text(bank.spots, 'spot')} and {count_text(len(bank.names.symbols), 'gene')}"
    return f"Trained on {trained}{synthetic}; {size}; {accuracy}"
