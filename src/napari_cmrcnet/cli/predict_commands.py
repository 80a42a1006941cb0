"""The command that predicts one slide, or each slide of a sheet."""

import argparse
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from napari_cmrcnet.cli.console import say, show_json, show_progress, warn
from napari_cmrcnet.cli.shared import WrongUseError, config_from, introduce, panel_named
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import check_output
from napari_cmrcnet.common.locks import only_one
from napari_cmrcnet.common.suffixes import SLIDES, ends_in, slide_name
from napari_cmrcnet.common.text import count_text, some_of

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.checkpoint import Checkpoint
    from napari_cmrcnet.retrieval.predict_config import PredictConfig
    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.sections.section import Section


def predict(options: argparse.Namespace) -> None:
    """Predict one slide, or each slide of a sheet."""
    if options.sheet is not None and options.slide is None and ends_in(options.sheet.name, SLIDES):
        model = options.checkpoint or "M.cmrcnet"
        raise WrongUseError(
            f"{options.sheet} is a slide, not a sheet; give it with --slide:\n"
            f"  napari-cmrcnet predict --slide {quote(str(options.sheet))} --checkpoint {quote(str(model))}"
        )
    if options.checkpoint is None:
        raise WrongUseError(
            "give the model with --checkpoint; to see which you have and which you can get: napari-cmrcnet models"
        )
    if (options.sheet is None) == (options.slide is None):
        raise WrongUseError("give either --slide S or a SHEET")
    if options.sheet is not None and options.overwrite:
        raise WrongUseError("--overwrite cannot be used with a SHEET: its finished predictions are kept")
    of_a_slide = ("spots", "library", "pool", "patient", "mpp", "pitch", "lattice")
    ignored = of_a_slide if options.slide is None else ("workers", "scheduler")
    if given := [f"--{name}" for name in ignored if getattr(options, name) is not None]:
        raise WrongUseError(f"{' and '.join(given)} cannot be used with {'a SHEET' if options.sheet else '--slide'}")
    of_a_grid = [f"--{name}" for name in ("pitch", "lattice") if getattr(options, name) is not None]
    if options.spots is not None and of_a_grid:
        raise WrongUseError(f"{' and '.join(of_a_grid)} cannot be used with --spots: they are for a grid")
    for name in ("library", "pool"):
        if getattr(options, name) is not None and options.slide is not None and options.spots is None:
            raise WrongUseError(f"--{name} is for --spots; give both")
    from napari_cmrcnet.catalogue.user_models import find_model
    from napari_cmrcnet.retrieval.ready_folder import ready_in

    options.checkpoint = find_model(options.checkpoint)
    options.ready = ready_in(options.checkpoint)
    if options.ready and options.sheet is not None:
        raise WrongUseError(
            f"{options.checkpoint} is {options.ready.name}, which predicts one slide at a time; give --slide"
        )
    if options.sheet is None:
        _predict_slide(options)
    else:
        _predict_sheet(options)


def _predict_slide(options: argparse.Namespace) -> None:
    name = f"{slide_name(options.slide)}_predicted.h5ad"
    out = Path(name) if options.out is None else options.out / name if options.out.is_dir() else options.out
    if out.suffix.lower() != ".h5ad":
        raise UserError(f"--out {out} is neither an .h5ad file nor a folder that exists; give one of them.")
    check_output(out)
    with only_one(out):
        _refuse_to_overwrite(out, options.overwrite)  # only now: another process may have been replacing it
        _predict_into(out, options)


def _predict_into(out: Path, options: argparse.Namespace) -> None:
    from napari_cmrcnet.retrieval.checkpoint import Checkpoint
    from napari_cmrcnet.retrieval.predict_config import PredictConfig
    from napari_cmrcnet.retrieval.ready import predict_ready
    from napari_cmrcnet.retrieval.trust import trust_in_genes
    from napari_cmrcnet.sections.section import open_section

    config = config_from(options, PredictConfig, panel=panel_named(options.panel))
    checkpoint = None if options.ready else Checkpoint.load(options.checkpoint)
    if checkpoint is not None:
        checkpoint.bank.names.check_panel(config.panel, "The checkpoint")  # what it says is among the notes
    section = open_section(
        options.slide,
        options.spots,
        patient=options.patient or "",
        mpp=options.mpp,
        min_umi=options.min_umi,
        pitch_um=options.pitch or 100.0,
        lattice=options.lattice or "hex",
        library=options.library or "",
        pool=options.pool or "",
        normalised=True,
    )
    with section.slide:
        introduce(section)
        if checkpoint is None:
            prediction = show_progress(predict_ready(section, options.checkpoint, options.ready, config))
        else:
            prediction = _retrieve(section, checkpoint, config)
    for note in prediction.provenance.notes:
        if note not in section.notes:
            warn(f"{section.name}: {note}")
    prediction.save(out)
    made = f"{count_text(len(prediction.genes), 'gene')} at {count_text(len(prediction), 'spot')}"
    say(f"{out}: {made}, each value the {prediction.provenance.average}")
    if likeness := prediction.provenance.likeness:
        say(likeness.reason)
    if prediction.expected is not None:
        say(f"Trust in the genes: {trust_in_genes(prediction)}")
        say(f"Expected PCC: the mean over {prediction.provenance.over}")
    show_json({"predictions": [{"file": out, "provenance": asdict(prediction.provenance)}]})


def _retrieve(section: "Section", checkpoint: "Checkpoint", config: "PredictConfig") -> "Prediction":
    """Predict by a checkpoint, after saying what does not fit."""
    from napari_cmrcnet.retrieval.predict import predict as predict_section
    from napari_cmrcnet.retrieval.preflight import preflight_job, warnings_in

    checks = show_progress(preflight_job(section, checkpoint, config.k))
    for warning in warnings_in(checks):
        if warning not in section.notes:
            warn(f"{section.name}: {warning}")
    return show_progress(predict_section(section, checkpoint, config, checks=checks))


def _predict_sheet(options: argparse.Namespace) -> None:
    from napari_cmrcnet.retrieval.predict_config import PredictConfig
    from napari_cmrcnet.retrieval.predict_sheet import predict_sheet
    from napari_cmrcnet.retrieval.prediction_file import read_provenance
    from napari_cmrcnet.sections.sheet import read_sheet

    rows, out = read_sheet(options.sheet), options.out or Path("predictions")
    check_output(out, folder=True)
    job = predict_sheet(
        rows,
        options.checkpoint,
        out,
        config_from(options, PredictConfig, panel=panel_named(options.panel)),
        min_umi=options.min_umi,
        workers=options.workers or 1,
        scheduler=options.scheduler,
    )
    try:
        paths = show_progress(job)
        for path in paths:
            say(str(path))
    finally:  # the files of the others stand where a slide could not be predicted
        _warn_of_slides(out / f"{row.section}.h5ad" for row in rows)
    show_json({"predictions": [{"file": path, "provenance": asdict(read_provenance(path))} for path in paths]})


def _warn_of_slides(paths: Iterable[Path]) -> None:
    """Print what the predictions of a sheet keep as warnings and notes, wherever they were made, each once."""
    from napari_cmrcnet.retrieval.prediction_file import is_prediction, read_provenance

    said: dict[str, list[str]] = {}
    for path in paths:
        if path.is_file() and is_prediction(path):
            about = read_provenance(path)
            for sentence in (*about.warnings, *about.notes):
                said.setdefault(sentence, []).append(about.section)
    for sentence, sections in said.items():
        warn(f"{some_of(sections)}: {sentence}")


def _refuse_to_overwrite(out: Path, overwrite: bool) -> None:
    """Protect what has the name already: anything that is no prediction, and a prediction unless it may be replaced.

    Raises
    ------
    UserError
        Before any work.
    """
    from napari_cmrcnet.retrieval.prediction_file import is_prediction

    if not out.exists():
        return
    try:
        ours = is_prediction(out)
    except UserError as error:  # damaged, or another kind of file
        if isinstance(error.__cause__, OSError) and error.__cause__.errno is not None:
            raise  # it may be ours, but is open elsewhere, or forbidden
        ours = False
    if not ours:
        raise UserError(f"{out} exists and is not a prediction, so it is not replaced; choose another name for --out.")
    if not overwrite:
        raise UserError(f"{out} exists; give --overwrite to replace this prediction, or another name for --out.")
