"""The commands of the paper's experiments."""

import argparse
from typing import TYPE_CHECKING

from napari_cmrcnet.cli.console import say, show_progress, show_table

if TYPE_CHECKING:
    from napari_cmrcnet.evaluation.experiments.tables import Row, Table
    from napari_cmrcnet.sections.panels import Panel


def benchmark(options: argparse.Namespace) -> None:
    """Compare methods on the folds of a sheet or dataset."""
    from pathlib import Path

    from napari_cmrcnet.evaluation.experiments.benchmark import Plan
    from napari_cmrcnet.evaluation.experiments.benchmark import benchmark as compare
    from napari_cmrcnet.evaluation.experiments.dataset import from_sheet
    from napari_cmrcnet.sections.patches import PatchSpec

    dataset = from_sheet(Path(options.dataset), _panel(options.panel), options.min_umi)
    plan = Plan(
        methods=options.methods,
        folds=options.folds,
        seeds=options.seeds,
        epochs=options.epochs,
        preset=options.preset,
        variant=options.variant,
        patch=PatchSpec(model_mpp=options.model_mpp),
        ablation=options.ablation,
        device=options.device,
        weights=options.weights,
        nan_as_zero=options.nan_as_zero,
        keep=options.keep_checkpoints,
    )
    job = compare(dataset, plan, options.out, workers=options.workers, scheduler=options.scheduler)
    outcome = show_progress(job)
    for table in outcome.tables:
        _show(table)
    for warning in outcome.warnings:
        say(f"! {warning}")
    say(str(outcome.files[-1]))


def _show(table: "Table") -> None:
    show_table(
        table.title,
        ("method", *table.columns),
        [(row.title, *(_cell(row, name) for name in table.columns)) for row in table.rows],
    )


def _cell(row: "Row", name: str) -> str:
    one = row.estimates[name]
    own = "–" if one.mean is None else f"{one.mean:.3f}"
    return f"{own} (paper {row.paper[name]:.3f})" if name in row.paper else own


def _panel(name: str | None) -> "Panel | None":
    from napari_cmrcnet.sections.panels import load_panel

    return None if name is None else load_panel(name)
