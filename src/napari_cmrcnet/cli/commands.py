"""One function a command: parsed options in, one call into the core, a table or a path out."""

import argparse
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cmrcnet.cli import experiment_commands, models_commands, predict_commands, report_commands
from napari_cmrcnet.cli.console import (
    keep_output_for_json,
    say,
    show_facts,
    show_json,
    show_progress,
    show_table,
    warn,
)
from napari_cmrcnet.cli.shared import check_panel, config_from, introduce, panel_named
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import check_name, check_output
from napari_cmrcnet.common.suffixes import SLIDES, ends_in
from napari_cmrcnet.common.text import count_text

if TYPE_CHECKING:
    from napari_cmrcnet.evaluation.report import Report
    from napari_cmrcnet.retrieval.prediction import Prediction

_INTO_FOLDERS = ("simulate", "evaluate", "benchmark", "download", "demo")  # whose result is several files


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
    out = options.folder if options.command == "simulate" else getattr(options, "out", None)
    if isinstance(out, Path):
        check_output(out, folder=options.command in _INTO_FOLDERS)
    keep_output_for_json(getattr(options, "json", False))
    COMMANDS[options.command](options)


def simulate(options: argparse.Namespace) -> None:
    """Make synthetic sections."""
    from napari_cmrcnet.synthetic.simulate import simulate as make_sections

    sheet = show_progress(make_sections(options.folder, n_sections=options.sections, seed=options.seed))
    say(f"{count_text(options.sections, 'synthetic section')}, listed in {sheet}")


def info(options: argparse.Namespace) -> None:
    """Describe a file or folder, or what is installed."""
    from napari_cmrcnet.catalogue.user_models import find_model
    from napari_cmrcnet.retrieval.describe import describe, describe_installation

    if options.path is None:
        description, title = describe_installation(), "napari-cmrcnet on this computer"
    else:
        options.path = find_model(options.path)
        description = describe(options.path, library=options.library or "")
        title = f"{options.path}: {description.kind}"
    show_facts(title, description.facts)
    for problem in description.problems:
        warn(problem)
    about = {"kind": description.kind, "problems": description.problems, **description.values}
    show_json(about if options.path is None else {"path": options.path, **about})


def train(options: argparse.Namespace) -> None:
    """Train on the sections of a sheet."""
    from napari_cmrcnet.model.frozen_encoders import encoder_named
    from napari_cmrcnet.retrieval.card import epochs_in_words
    from napari_cmrcnet.retrieval.genes import GeneNames
    from napari_cmrcnet.sections.pooling import pool_from
    from napari_cmrcnet.sections.sheet import read_sheet
    from napari_cmrcnet.slides.patches import PatchSpec
    from napari_cmrcnet.training.config import FitConfig
    from napari_cmrcnet.training.fit import fit

    rows = read_sheet(options.sheet)
    unknown = set(options.without) - {row.section for row in rows}
    if unknown:
        raise UserError(f"{options.sheet} has no section {', '.join(sorted(unknown))}; check --without.")
    encoder = encoder_named(options.encoder)
    if not encoder.package:
        say(encoder.terms)
    asked = ("test_time_augmentation", "neighbourhood_smoothing", "k", "weighted")
    config = config_from(
        options,
        FitConfig,
        patch=PatchSpec(options.patch_px, options.model_mpp),
        validation=_validation(options.validation, {row.section for row in rows}),
        query={name: getattr(options, name) for name in asked},
        panel=panel_named(options.panel),
        model=_model_settings(options),
    )
    if options.pool is not None:
        pool_from(options.pool)
        rows = [replace(row, pool=row.pool or options.pool) if row.spots is not None else row for row in rows]
    with ExitStack() as slides:
        sections = []
        for row in rows:
            if row.section not in options.without:
                sections.append(row.open(min_umi=options.min_umi))
                slides.enter_context(sections[-1].slide)
                introduce(sections[-1])
        check_panel(GeneNames.of_any(one.spots.var for one in sections), config.panel, str(options.sheet))
        checkpoint = show_progress(fit(sections, config, options.out, resume=options.resume))
    bank = checkpoint.bank
    held = f"{count_text(len(bank.obs), 'bank spot')}, {count_text(len(bank.genes), 'gene')}"
    say(f"{options.out}: {held}, {epochs_in_words(checkpoint.card)}")


def _validation(text: str | None, sections: set[str]) -> str | float | None:
    """Read the name of a section, which may look like a number, or else a share of the spots."""
    if text is None or text in sections:
        return text and f"section:{text}"
    try:
        return float(text)
    except ValueError as error:
        raise UserError(f"--validation {text} is neither a section of the sheet nor a share such as 0.2.") from error


def _model_settings(options: argparse.Namespace) -> dict[str, object]:
    """Read ``--set NAME=VALUE``; what a value may be, `ModelConfig` checks."""
    from dataclasses import fields

    from napari_cmrcnet.model.config import ModelConfig

    elsewhere = ("n_genes", "image_size", "image_encoder", "variant")  # follow from data and options
    known = [field.name for field in fields(ModelConfig) if field.name not in elsewhere]
    settings: dict[str, object] = {"image_encoder": options.image_encoder} if options.image_encoder else {}
    for text in options.set:
        name, _, value = text.partition("=")
        if name not in known:
            raise UserError(
                f"--set {text} is not a setting of the model; give NAME=VALUE, NAME one of {', '.join(known)}."
            )
        try:
            settings[name] = json.loads(value)
        except (ValueError, RecursionError):
            settings[name] = value
    return settings


def evaluate(options: argparse.Namespace) -> None:
    """Score predictions."""
    from napari_cmrcnet.evaluation.report import evaluate as score_predictions
    from napari_cmrcnet.retrieval.checkpoint import Checkpoint
    from napari_cmrcnet.retrieval.prediction import Prediction

    checkpoint = Checkpoint.load(options.checkpoint) if options.checkpoint else None
    external = _external(options)
    predictions = [external] if external else [Prediction.load(path, checkpoint) for path in options.predictions]
    panel = panel_named(options.panel)
    for prediction in predictions:
        prediction.names.check_panel(panel, prediction.name)  # what is missing stands in the report
        for sentence in prediction.names.taken_for(panel) if panel else ():
            warn(sentence)
    job = score_predictions(
        predictions,
        options.out,
        panel=panel,
        seed=options.seed,
        sets=options.sets,
        min_umi=options.score_min_umi,
        nan_as_zero=options.nan_as_zero,
    )
    report = show_progress(job)
    files = list(report.files)
    if external is not None:
        files.append(options.out / f"{external.name}_predicted.h5ad")
        external.save(files[-1])
    _show_report(report)
    if external is not None:
        say(f"To look at it in napari: napari {files[-1]}")
    show_json({**report.summary, "files": files})


def _external(options: argparse.Namespace) -> "Prediction | None":
    """Open the one table of another tool; None where the files are predictions of this software."""
    from napari_cmrcnet.retrieval.external import open_external
    from napari_cmrcnet.retrieval.external_files import H5AD
    from napari_cmrcnet.retrieval.prediction_file import is_prediction
    from napari_cmrcnet.sections.spots import open_spots

    path = options.predictions[0]
    of_external = [f"--{name}" for name in ("spots", "layer", "scale") if getattr(options, name) is not None]
    h5ad = path.is_file() and path.suffix.lower() == H5AD
    if not of_external and (not path.is_file() or (h5ad and is_prediction(path))):
        return None
    if len(options.predictions) > 1:
        raise UserError(f"{path} is scored as another tool's prediction; give one such table at a time.")
    if options.checkpoint:
        raise UserError("--checkpoint is for predictions of this software; leave it out for another tool's table.")
    if options.spots is None and ends_in(path.name, SLIDES):
        raise UserError(f"{path} is a slide; give the .h5ad file that predict wrote for it.")
    if options.spots is None and not h5ad:
        raise UserError(f"{path} holds no measured spots; give them with --spots.")
    spots = open_spots(options.spots or path)
    if spots.X is None:
        raise UserError(f"{options.spots or path} holds no counts to compare with; give the measured spots (--spots).")
    panel = panel_named(options.panel)
    prediction = open_external(path, spots, layer=options.layer or "", scale=options.scale, panel=panel)
    for note in prediction.provenance.notes:
        warn(f"{prediction.name}: {note}")
    return prediction


def demo(options: argparse.Namespace) -> None:
    """Predict and score the sample."""
    from napari_cmrcnet.evaluation.demo import demo as run_demo

    _show_report(show_progress(run_demo(options.out)))
    say(f"To look at it in napari: napari {next(options.out.glob('*_predicted.h5ad'))}")


def _show_report(report: "Report") -> None:
    from napari_cmrcnet.evaluation.document import cell
    from napari_cmrcnet.evaluation.headline import COVERS
    from napari_cmrcnet.evaluation.report_parts import set_row
    from napari_cmrcnet.evaluation.score_notes import missing_in_words, sets_in_words
    from napari_cmrcnet.evaluation.set_scores import between

    rows = [tuple(map(cell, set_row(name, score))) for name, score in report.sets.items()]
    total = sum(len(one.scored) for one in report.sections)
    spots = count_text(sum(one.spots for one in report.sections), "spot", total)
    show_table(
        f"Mean PCC of predicted with measured expression, {spots}",
        ("genes", "PCC", "95 % interval", "partial PCC", "Spearman", "n", "no score"),
        rows,
    )
    say(sets_in_words(report.sections))
    say(f"The interval covers {COVERS}.")
    for name in report.sets:
        if found := between([one.sets[name] for one in report.sections]):
            said = "{} is between {low:.3f} and {high:.3f} in the {sections} sections (standard deviation {sd:.3f})."
            say(said.format(name, **found))
    for warning in (*missing_in_words(report.sections), *report.warnings):
        warn(warning)
    for path in report.files:
        say(str(path))


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "simulate": simulate,
    "info": info,
    "train": train,
    "models": models_commands.models,
    "predict": predict_commands.predict,
    "evaluate": evaluate,
    "report": report_commands.report,
    "figure": report_commands.figure,
    "export": report_commands.export,
    "benchmark": experiment_commands.benchmark,
    "download": experiment_commands.download,
    "demo": demo,
}
