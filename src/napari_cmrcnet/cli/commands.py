"""One function a command: parsed options in, one call into the core, a table or a path out."""

import argparse
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cmrcnet.cli import experiment_commands
from napari_cmrcnet.cli.console import say, show_facts, show_progress, show_table, warn
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import check_name, check_output

if TYPE_CHECKING:
    from napari_cmrcnet.evaluation.report import Report
    from napari_cmrcnet.sections.panels import Panel
    from napari_cmrcnet.sections.section import Section


def run(options: argparse.Namespace) -> None:
    """Run the parsed command.

    Raises
    ------
    UserError
        If the command cannot do what it was asked to, with the sentence to show.
    """
    for value in vars(options).values():
        for path in value if isinstance(value, list) else [value]:
            if isinstance(path, Path):
                check_name(path)
    if isinstance(out := getattr(options, "out", None), Path):
        check_output(out)
    COMMANDS[options.command](options)


def simulate(options: argparse.Namespace) -> None:
    """Make synthetic sections."""
    from napari_cmrcnet.sections.simulate import simulate as make_sections

    sheet = show_progress(make_sections(options.folder, n_sections=options.sections, seed=options.seed))
    say(f"{options.sections} synthetic sections, listed in {sheet}")


def info(options: argparse.Namespace) -> None:
    """Describe a file or folder."""
    from napari_cmrcnet.retrieval.describe import describe

    description = describe(options.path)
    show_facts(f"{options.path}: {description.kind}", description.facts)
    for problem in description.problems:
        warn(problem)


def train(options: argparse.Namespace) -> None:
    """Train on the sections of a sheet."""
    from napari_cmrcnet.sections.patches import PatchSpec
    from napari_cmrcnet.sections.sheet import read_sheet
    from napari_cmrcnet.training.config import FitConfig, Variant, epochs_of, query_of
    from napari_cmrcnet.training.fit import fit

    rows = read_sheet(options.sheet)
    unknown = set(options.without) - {row.section for row in rows}
    if unknown:
        raise UserError(f"{options.sheet} has no section {', '.join(sorted(unknown))}; check --without.")
    variant: Variant = options.variant or ("paper" if options.preset == "paper" else "tuned")
    config = FitConfig(
        preset=options.preset,
        variant=variant,
        epochs=options.epochs or epochs_of(variant),
        batch_size=options.batch_size,
        accumulate=options.accumulate,
        learning_rate=options.learning_rate,
        schedule=options.schedule,
        warmup_epochs=options.warmup_epochs,
        precision=options.precision,
        seed=options.seed,
        device=options.device,
        devices=options.devices,
        num_nodes=options.num_nodes,
        n_top_genes=options.genes,
        patch=PatchSpec(options.patch_px, options.model_mpp),
        validation=_validation(options.validation, {row.section for row in rows}),
        standardise=options.standardise,
        colour_augmentation=options.colour_augmentation,
        query=query_of(
            variant, symmetries=options.symmetries, context=options.context, k=options.k, weighted=options.weighted
        ),
        panel=_panel(options.panel),
        thumbnails=not options.no_thumbnails,
        weights=options.weights,
        pretrained=options.pretrained,
        model=_model_overrides(options),
    )
    with ExitStack() as slides:
        sections = []
        for row in rows:
            if row.section not in options.without:
                sections.append(row.open(min_umi=options.min_umi))
                slides.enter_context(sections[-1].slide)
                _introduce(sections[-1])
        checkpoint = show_progress(fit(sections, config, options.out, resume=options.resume))
    bank = checkpoint.bank
    say(f"{options.out}: {len(bank.obs):,} bank spots, {len(bank.genes):,} genes, {checkpoint.card.epochs} epochs")


def _validation(text: str | None, sections: set[str]) -> str | float | None:
    """Read the name of a section, which may look like a number, or else a share of the spots."""
    if text is None or text in sections:
        return text and f"section:{text}"
    try:
        return float(text)
    except ValueError as error:
        raise UserError(f"--validation {text} is neither a section of the sheet nor a share such as 0.2.") from error


def _model_overrides(options: argparse.Namespace) -> dict[str, object]:
    overrides: dict[str, object] = {
        "target": options.target,
        "reconstruction_loss": options.reconstruction_loss,
    }
    if options.no_reconstruction:
        overrides["reconstruction"] = False
    if options.mask_rate is not None:
        overrides["mask_rate"] = options.mask_rate
    if options.layer_scale is not None:
        overrides["layer_scale"] = options.layer_scale
    for name in ("image_encoder", "contrast", "temperature"):
        if (value := getattr(options, name)) is not None:
            overrides[name] = value
    return overrides


def predict(options: argparse.Namespace) -> None:
    """Predict one slide, or each slide of a sheet."""
    if (options.sheet is None) == (options.slide is None):
        raise WrongUseError("give either --slide S or a SHEET")
    of_a_slide = ("spots", "patient", "mpp", "pitch", "lattice")
    ignored = of_a_slide if options.slide is None else ("workers", "scheduler")
    if given := [f"--{name}" for name in ignored if getattr(options, name) is not None]:
        raise WrongUseError(f"{' and '.join(given)} cannot be used with {'a SHEET' if options.sheet else '--slide'}")
    of_a_grid = [f"--{name}" for name in ("pitch", "lattice") if getattr(options, name) is not None]
    if options.spots is not None and of_a_grid:
        raise WrongUseError(f"{' and '.join(of_a_grid)} cannot be used with --spots, which are no grid")
    if options.sheet is None:
        _predict_slide(options)
    else:
        _predict_sheet(options)


def _predict_slide(options: argparse.Namespace) -> None:
    from napari_cmrcnet.retrieval.checkpoint import Checkpoint
    from napari_cmrcnet.retrieval.predict import predict as predict_section
    from napari_cmrcnet.retrieval.preflight import preflight, warnings_in
    from napari_cmrcnet.sections.section import open_section

    name = f"{options.slide.stem}_predicted.h5ad"
    out = Path(name) if options.out is None else options.out / name if options.out.is_dir() else options.out
    _refuse_to_overwrite_input(out, options.slide, options.spots, options.checkpoint)
    checkpoint = Checkpoint.load(options.checkpoint)
    section = open_section(
        options.slide,
        options.spots,
        patient=options.patient or "",
        mpp=options.mpp,
        min_umi=options.min_umi,
        pitch_um=options.pitch or 100.0,
        lattice=options.lattice or "hex",
    )
    with section.slide:
        _introduce(section)
        bank = checkpoint.bank.summary
        checks = preflight(section, checkpoint.card, bank, checkpoint.card.query.k_of(bank.spots, options.k))
        for warning in warnings_in(checks):
            if warning not in section.notes:
                warn(f"{section.name}: {warning}")
        job = predict_section(
            section,
            checkpoint,
            k=options.k,
            device=options.device,
            precision=options.precision,
            batch_size=options.batch_size,
            panel=_panel(options.panel),
            engine=options.engine,
            checks=checks,
        )
        prediction = show_progress(job)
    for note in prediction.provenance.notes:
        if note not in section.notes:
            warn(f"{section.name}: {note}")
    prediction.save(out)
    made = f"{len(prediction.genes):,} genes at {len(prediction):,} spots"
    say(f"{out}: {made}, each value the {prediction.provenance.average}")


def _introduce(section: "Section") -> None:
    spots = f"{section.spots.n_obs:,} spots" + (f", {section.spots.n_vars:,} genes" if section.measured else "")
    say(f"{section.name}: {spots}, {section.mpp:.4g} µm/px by {section.pixel_size.source}")
    for note in section.notes:
        warn(f"{section.name}: {note}")


def _predict_sheet(options: argparse.Namespace) -> None:
    from napari_cmrcnet.retrieval.many import predict_sheet
    from napari_cmrcnet.sections.sheet import read_sheet

    rows, out = read_sheet(options.sheet), options.out or Path("predictions")
    job = predict_sheet(
        rows,
        options.checkpoint,
        out,
        k=options.k,
        device=options.device,
        precision=options.precision,
        batch_size=options.batch_size,
        panel=_panel(options.panel),
        min_umi=options.min_umi,
        engine=options.engine,
        workers=options.workers or 1,
        scheduler=options.scheduler,
    )
    try:
        for path in show_progress(job):
            say(str(path))
    finally:  # the files of the others stand where a slide could not be predicted
        _warn_of_slides(out / f"{row.section}.h5ad" for row in rows)


def _warn_of_slides(paths: Iterable[Path]) -> None:
    """Print what the predictions of a sheet keep as warnings, wherever they were made."""
    from napari_cmrcnet.retrieval.prediction_file import is_prediction, read_provenance

    for path in paths:
        if path.is_file() and is_prediction(path):
            about = read_provenance(path)
            for warning in about.warnings:
                warn(f"{about.section}: {warning}")


def evaluate(options: argparse.Namespace) -> None:
    """Score predictions."""
    from napari_cmrcnet.evaluation.report import evaluate as score_predictions
    from napari_cmrcnet.retrieval.checkpoint import Checkpoint
    from napari_cmrcnet.retrieval.prediction import Prediction

    checkpoint = Checkpoint.load(options.checkpoint) if options.checkpoint else None
    predictions = [Prediction.load(path, checkpoint) for path in options.predictions]
    job = score_predictions(
        predictions,
        options.out,
        panel=_panel(options.panel),
        seed=options.seed,
        sets=options.sets,
        min_umi=options.score_min_umi,
        nan_as_zero=options.nan_as_zero,
    )
    _show_report(show_progress(job))


def demo(options: argparse.Namespace) -> None:
    """Predict and score the sample."""
    from napari_cmrcnet.evaluation.demo import demo as run_demo

    _show_report(show_progress(run_demo(options.out)))
    say(f"Look at it in napari, where that is installed: napari {next(options.out.glob('*_predicted.h5ad'))}")


def _show_report(report: "Report") -> None:
    from napari_cmrcnet.evaluation.counted import spots_in_words
    from napari_cmrcnet.evaluation.headline import COVERS
    from napari_cmrcnet.evaluation.report_text import figure
    from napari_cmrcnet.evaluation.score_notes import sets_in_words
    from napari_cmrcnet.evaluation.set_scores import between

    rows = [
        (
            name,
            figure(score.pcc),
            "–" if score.low is None else f"{figure(score.low)} to {figure(score.high)}",
            figure(score.partial_pcc),
            figure(score.spearman),
            str(score.n),
            str(score.undefined),
        )
        for name, score in report.sets.items()
    ]
    spots = spots_in_words(sum(one.spots for one in report.sections), sum(len(one.scored) for one in report.sections))
    show_table(
        f"Mean PCC of predicted with measured expression, {spots}",
        ("genes", "PCC", "95 % interval", "partial PCC", "Spearman", "n", "no score"),
        rows,
    )
    say(sets_in_words(report.sections))
    say(f"The interval is over the spots: {COVERS}.")
    for name in report.sets:
        if spread := between(report.sections, name):
            said = f"{spread.low:.3f} to {spread.high:.3f}, standard deviation {spread.sd:.3f}"
            say(f"Between {spread.sections} sections {name} has {said}.")
    for warning in report.warnings:
        warn(warning)
    for path in report.files:
        say(str(path))


def _panel(name: str | None) -> "Panel | None":
    if name is None:
        return None
    from napari_cmrcnet.sections.panels import load_panel

    return load_panel(name)


def _refuse_to_overwrite_input(out: Path, *inputs: Path | None) -> None:
    for path in inputs:
        if path is not None and out.resolve() == path.resolve():
            raise UserError(f"--out {out} would overwrite an input of the same name; choose another.")


class WrongUseError(Exception):
    """The options do not fit together; shown with the command's usage, exit code 2."""


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "simulate": simulate,
    "info": info,
    "train": train,
    "predict": predict,
    "evaluate": evaluate,
    "benchmark": experiment_commands.benchmark,
    "download": experiment_commands.download,
    "demo": demo,
}
