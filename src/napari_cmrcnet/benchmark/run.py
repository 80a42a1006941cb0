"""benchmark(): every method on the same folds, patches and genes, one result at a time."""

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cmrcnet.benchmark.dataset import Dataset
from napari_cmrcnet.benchmark.folds import Fold, genes_of, make_folds, with_genes, with_leaks
from napari_cmrcnet.benchmark.method_names import CMRCNET
from napari_cmrcnet.benchmark.methods.external import table_of
from napari_cmrcnet.benchmark.plan import Plan
from napari_cmrcnet.benchmark.report import Outcome, write_report
from napari_cmrcnet.benchmark.results import FORMAT, load_result
from napari_cmrcnet.benchmark.section_notes import Said, say_of
from napari_cmrcnet.benchmark.unit import Unit
from napari_cmrcnet.common.device import choose_device
from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.files import write_json
from napari_cmrcnet.common.json_entries import read_entries
from napari_cmrcnet.common.locks import only_one
from napari_cmrcnet.common.parallel import spread
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.text import parse_json
from napari_cmrcnet.slides.patch_cache import cache_key, patch_cache
from napari_cmrcnet.training.config import TUNED_MODEL, TUNED_QUERY, FitConfig
from napari_cmrcnet.training.frozen_choice import CHOICES as FROZEN_CHOICES
from napari_cmrcnet.training.run_folder import describe, differences

if TYPE_CHECKING:
    from napari_cmrcnet.sections.section import Section

STEP = "Benchmark"
BENCHMARK, FOLDS = "benchmark.json", "folds.json"
_NAMED = 3  # failed runs whose reasons one sentence can hold
_NOT_OURS = (OSError, ValueError, KeyError, TypeError)  # what reading another's JSON meets


def benchmark(
    dataset: Dataset,
    plan: Plan,
    out: str | os.PathLike[str],
    *,
    workers: int = 1,
    scheduler: str | None = None,
) -> Job[Outcome]:
    """Run every method on every fold and seed, and write the paper's tables and figures.

    The folds with their genes are written first. The result of each fold, method and seed is one file that stands
    when it is done, so a benchmark that was stopped goes on when it is started again. More methods or seeds may be
    asked for then; other folds, sections or settings are refused.

    Parameters
    ----------
    dataset : Dataset
        Measured sections.
    plan : Plan
        What is compared.
    out : path
        The folder for everything.
    workers : int
        Processes of this machine, among which its cores and GPUs are divided.
    scheduler : str, optional
        Address of a dask.distributed scheduler, to run on its workers instead. They must see the same paths.

    Raises
    ------
    UserError
        Before any training: if the sections do not serve, a method is unknown or lacks its weights, or the folder
        holds a benchmark with other settings. At the end, with the reason for each fold and method that could not be
        done; the report is then of the others.
    """
    out = Path(out).resolve()
    if not plan.ks or min(plan.ks) < 1:
        raise UserError("The numbers of neighbours of CMRCNet must be at least one number, each 1 or more.")
    choices = plan.choices
    for folder in plan.external.values():
        for row in dataset.rows:
            table_of(folder, row.section)
    choose_device(plan.device)
    with only_one(out):
        dataset, folds, sections = yield from _prepare(dataset, plan, out)
        units = [
            Unit(dataset, plan, fold, choice, seed, out)
            for seed in range(plan.seeds)
            for fold in folds
            for choice in choices
        ]
        waiting = [unit for unit in units if not unit.path.exists()]
        for unit in units:
            if unit not in waiting:
                unit.check()
        yield Progress(STEP, len(units) - len(waiting), len(units), "runs")
        if waiting:
            yield from _cut_patches(dataset, plan)
        failed = yield from spread(
            waiting, step=STEP, kind="runs", total=len(units), workers=workers, scheduler=scheduler
        )
        results = [load_result(unit.path, with_drawn=unit.seed == 0) for unit in units if unit.name not in failed]
        outcome = yield from write_report(dataset, plan, sections, folds, results, failed, out)
        if failed:
            some = [f"{name}: {str(reason).rstrip('.')}" for name, reason in list(failed.items())[:_NAMED]]
            more = f"; the others' are in {out / 'report.md'}" if len(failed) > _NAMED else ""
            raise UserError(f"{len(failed)} of {len(units)} runs could not be done: {'; '.join(some)}{more}.")
        return outcome


def _prepare(dataset: Dataset, plan: Plan, out: Path) -> Job[tuple[Dataset, list[Fold], Said]]:
    """Return the dataset with common names of genes, the folds as they are on record, and what is said of each section.

    Folds are recorded here, or found to be those of this benchmark.
    """
    make_folds(dataset.rows, "sample")  # refuses too few sections before they are opened
    with ExitStack() as slides:
        sections = []
        for done, row in enumerate(dataset.rows):
            yield Progress("Opening sections", done, len(dataset.rows), "sections")
            sections.append(dataset.open(row.section))
            slides.enter_context(sections[-1].slide)
        yield Progress("Opening sections", len(dataset.rows), len(dataset.rows), "sections")
        dataset, sections = dataset.joined(sections)
        patients = {section.name: section.patient for section in sections}  # which the spots may name
        rows = [replace(row, patient=patients[row.section]) for row in dataset.rows]
        folds = make_folds(rows, plan.folds)
        said = say_of(dataset, sections, plan.score_min_umi)
        description = _describe(dataset, plan, sections)
        if (out / BENCHMARK).exists():
            _check_same(out, description)
            if (out / FOLDS).exists():
                return dataset, _recorded(out / FOLDS), said
        contents = {name: (about["patches"], about["counts"]) for name, about in description["sections"].items()}
        chosen = {}
        for done, section in enumerate(sections):
            yield Progress("Choosing genes", done, len(sections), "sections")
            chosen[section.name] = genes_of(section)
        yield Progress("Choosing genes", len(sections), len(sections), "sections")
        named = {section.name: section for section in sections}
        complete = [
            with_leaks(with_genes(fold, named, chosen, dataset.markers), patients, dataset.replicates, contents)
            for fold in folds
        ]
    write_json(out / BENCHMARK, description)
    write_json(out / FOLDS, list(map(asdict, complete)))
    return dataset, complete, said


def _describe(dataset: Dataset, plan: Plan, sections: "Sequence[Section]") -> dict[str, Any]:
    """Return all that decides the results but what may be added to: methods and seeds."""
    config = FitConfig(preset=plan.preset, variant=plan.variant, patch=plan.patch, model=plan.model)
    if any(choice.method == CMRCNET for choice in plan.choices):
        config.model_config(n_genes=1)  # refuses patches that its encoder cannot read
    description = describe(sections, config, [cache_key(section, plan.patch) for section in sections], [])
    settings = {name: description["settings"][name] for name in ("preset", "variant", "patch", "model")}
    settings |= {
        "format": FORMAT,
        "folds": plan.folds,
        "score_min_umi": plan.score_min_umi,
        "epochs": plan.epochs,
        "ks": list(plan.ks),
        "markers": list(dataset.markers),
        "map_genes": list(dataset.map_genes),
        # Which another version of this software may have otherwise.
        "tuned": TUNED_MODEL | asdict(TUNED_QUERY),
        "frozen": FROZEN_CHOICES,
    }
    return description | {"settings": settings}


def _check_same(out: Path, description: dict[str, Any]) -> None:
    with readable(out / BENCHMARK, "is not readable", "choose another folder", _NOT_OURS):
        found = differences(json.loads((out / BENCHMARK).read_text("utf-8")), description)
    if found:
        raise UserError(
            f"{out} holds a benchmark that was started with other input ({'; '.join(found)}); continue with the same "
            "input, or choose another folder."
        )


def _recorded(path: Path) -> list[Fold]:
    with readable(path, "is not readable", "choose another folder", _NOT_OURS):
        try:
            return [read_entries(Fold, fold) for fold in parse_json(path.read_bytes())]
        except UserError as error:
            raise UserError(f"{path} {error}; choose another folder.") from error


def _cut_patches(dataset: Dataset, plan: Plan) -> Job[None]:
    """Cut all patches once, before several processes would cut them at the same time."""
    for row in dataset.rows:
        section = dataset.open(row.section)
        with section.slide:
            yield from patch_cache(section, plan.patch)
