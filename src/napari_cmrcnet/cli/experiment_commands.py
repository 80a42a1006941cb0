"""The commands of the paper's experiments."""

import argparse
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cmrcnet.cli.console import say, show_progress, show_table, warn
from napari_cmrcnet.cli.shared import config_from, panel_named
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.text import count_text

if TYPE_CHECKING:
    from napari_cmrcnet.benchmark.dataset import Dataset


def benchmark(options: argparse.Namespace) -> None:
    """Compare methods on the folds of a sheet or dataset."""
    from napari_cmrcnet.benchmark.plan import Plan
    from napari_cmrcnet.benchmark.run import benchmark as compare
    from napari_cmrcnet.slides.patches import PatchSpec

    dataset = _dataset(options)
    patch, weights = PatchSpec(options.patch_px, options.model_mpp), _weights(options.weights)
    external = dict(options.external)
    if len(external) < len(options.external):
        raise UserError("--external has a name twice; give each folder a name of its own.")
    plan = config_from(options, Plan, patch=patch, weights=weights, external=external)
    job = compare(dataset, plan, options.out, workers=options.workers or 1, scheduler=options.scheduler)
    outcome = show_progress(job)
    for table in outcome.tables:
        show_table(table.title, table.header, table.rows(_cell))
    for warning in outcome.warnings:
        warn(warning)
    say(str(outcome.files[-1]))


def _dataset(options: argparse.Namespace) -> "Dataset":
    """Return one of the paper's datasets by its name, or the sections of a sheet."""
    from napari_cmrcnet.benchmark.dataset import from_sheet
    from napari_cmrcnet.benchmark.recipes import find_recipe, paper_dataset, recipes

    panel = panel_named(options.panel)
    recipe = find_recipe(options.dataset)
    if recipe is not None:
        folder = options.data or Path(recipe.key)
        return paper_dataset(recipe, folder, panel=panel, min_umi=options.min_umi, all_spots=options.all_spots)
    if not Path(options.dataset).is_file():
        raise UserError(
            f"{options.dataset} is neither a sheet nor one of the paper's datasets ({', '.join(recipes())}); check it."
        )
    if options.data or options.all_spots:
        raise UserError("--data and --all-spots are for the paper's datasets only; leave them out for a sheet.")
    return from_sheet(Path(options.dataset), panel, options.min_umi)


def _weights(given: "Sequence[tuple[str, Path]]") -> dict[str, Path]:
    for place, (method, path) in enumerate(given):
        if method in (other for other, _ in given[:place]):
            raise UserError(
                f"{path} is the second file of weights for {method or 'one method'}; give one file for each method."
            )
    return dict(given)


def download(options: argparse.Namespace) -> None:
    """Download one of the paper's datasets."""
    from napari_cmrcnet.benchmark.recipes import find_recipe, name_in_paper, recipes
    from napari_cmrcnet.catalogue.hest import download_hest

    recipe = find_recipe(options.dataset)
    if recipe is None:
        raise UserError(f"{options.dataset} is not one of the paper's datasets; choose one of {', '.join(recipes())}.")
    name, folder = name_in_paper(recipe), options.out or Path(recipe.key)
    sheet = show_progress(download_hest(name, recipe.patients, folder))
    say(f"{name}: {count_text(len(recipe.patients), 'section')}, listed in {sheet}")
    say(f"napari-cmrcnet benchmark {recipe.key} --data {folder} --out {recipe.key}_benchmark")


def _cell(line: Any) -> str:
    """Return what is shown of a line of `Table.lines`."""
    own = "–" if isnan(line.mean) else f"{line.mean:.3f}"
    return own if isnan(line.paper) else f"{own} (paper {line.paper:.3f})"
