"""fit(): sections in, a checkpoint out."""

import os
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.locks import only_one
from napari_cmrcnet.common.progress import Job, Progress, finish, in_turn
from napari_cmrcnet.model.cmrcnet import CMRCNet, inference_state
from napari_cmrcnet.retrieval.build_bank import build_bank
from napari_cmrcnet.retrieval.card import THUMBNAILS, Card
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.compatibility import check_sections_genes
from napari_cmrcnet.sections.expression import PAPER_GENES, highly_variable_genes
from napari_cmrcnet.sections.gene_joining import comparable
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.sections.totals import total_genes
from napari_cmrcnet.slides.patch_cache import cache_key, patch_cache
from napari_cmrcnet.training.bank_evidence import training_floor, training_thumbnails
from napari_cmrcnet.training.config import FitConfig
from napari_cmrcnet.training.data import BatchReader, Part, split
from napari_cmrcnet.training.distributed import Process, check_devices, join
from napari_cmrcnet.training.fit_frozen import fit_frozen
from napari_cmrcnet.training.loop import STATE, Plan, train
from napari_cmrcnet.training.run_folder import LAST, RunFolder, describe
from napari_cmrcnet.training.state import State
from napari_cmrcnet.training.usual_tissue import training_tissue


def fit(
    sections: Sequence[Section], config: FitConfig, out: str | os.PathLike[str], *, resume: bool = False
) -> Job[Checkpoint]:
    """Train CMRCNet on measured sections.

    Beside ``NAME.cmrcnet`` a folder ``NAME.training`` holds the log and, until the
    checkpoint stands, the state after the last epoch. On the CPU the same seed gives the same weights, with
    or without a stop in between.

    Progress comes once a batch of patches cut or trained on, and after each epoch with its losses. Under torchrun
    every process calls this, and only the first tells its progress; the folder of ``out`` must be one that all
    machines share.

    Parameters
    ----------
    sections : sequence of Section
        Sections with counts, each with its own name.
    config : FitConfig
        How to train.
    out : path
        The checkpoint to write.
    resume : bool
        Continue a stopped training, start if there is none, and return a finished one as it is.

    Returns
    -------
    Checkpoint
        Has the weights of the epoch with the least validation loss, or of the last epoch without a validation; its
        bank holds all spots trained on.

    Raises
    ------
    UserError
        If the sections or settings cannot be used, patches cannot be read, ``out`` or an unfinished training exists
        already, the stopped training was started with other input, the loss is not finite, or the disk is full.
    """
    run = RunFolder(Path(out))
    check_sections(sections)
    check_devices(config)
    sections = comparable(sections)
    if config.variant == "frozen":
        with only_one(run.path):
            run.refuse_to_overwrite(resume)
            checkpoint = yield from fit_frozen(sections, config, run, resume)
            run.tidy()
            return checkpoint
    with join(config) as process, only_one(run.path) if process.first else nullcontext():
        if process.first:
            run.refuse_to_overwrite(resume)
            plan = yield from _prepare(sections, config, run, resume, process)
            process.wait()
        else:  # finds what the first has cut
            process.wait()
            plan = finish(_prepare(sections, config, run, resume, process))
        if not run.out.exists():
            if process.first:
                state = yield from train(plan, process)
                yield from _save(plan, run, state, process.device)
            else:
                finish(train(plan, process))
            process.wait()
        if process.first:
            run.tidy()
        return Checkpoint.load(run.out)


def check_sections(sections: Sequence[Section]) -> None:
    """Refuse what cannot be trained on.

    Raises
    ------
    UserError
        If there is no section, one has no counts, two have one name, or they are of two species.
    """
    if not sections:
        raise UserError("There is no section to train on; give at least one with counts.")
    names = [section.name for section in sections]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"Several sections are called {', '.join(repeated)}; give each a name of its own.")
    if unmeasured := [section.name for section in sections if not section.measured]:
        raise UserError(f"The sections {', '.join(unmeasured)} have no counts to train on; leave them out.")
    check_sections_genes(sections)


def _prepare(
    sections: Sequence[Section], config: FitConfig, run: RunFolder, resume: bool, process: Process
) -> Job[Plan]:
    training, validation = split(sections, config)
    measured = [part.section for part in training]
    variable = highly_variable_genes(measured)  # the paper's, among which its scores are ranked
    other = config.n_top_genes != PAPER_GENES and not config.genes
    chosen = highly_variable_genes(measured, config.n_top_genes) if other else variable
    genes = list(config.genes) if config.genes else _there(chosen, validation)
    settings = config.model_config(len(genes))  # before the patches are cut: it may refuse
    if process.first and config.weights is not None and not (run.path / STATE).exists():
        CMRCNet(settings, config.weights)  # and so may the file of weights
    keys = []
    for i, section in enumerate(sections):
        yield Progress("Checking slides", i, len(sections), "slides")
        keys.append(cache_key(section, config.patch))
    yield Progress("Checking slides", len(sections), len(sections), "slides")
    if process.first:
        run.begin(describe(sections, config, keys, genes), resume)
    cut = yield from in_turn(patch_cache(section, config.patch) for section in sections)
    patches = {section.name: of_section for section, of_section in zip(sections, cut, strict=True)}

    def reader(parts: Sequence[Part]) -> BatchReader:
        return BatchReader(parts, patches, genes, config, pin=process.device.type == "cuda")

    held_out = [reader([part]) for part in validation]
    return Plan(config, settings, genes, variable, reader(training), held_out, run.path)


def _there(genes: list[str], validation: Sequence[Part]) -> list[str]:
    """Return the genes that the sections of the validation have."""
    there = [set(part.section.spots.var_names) for part in validation]
    if kept := [gene for gene in genes if all(gene in names for names in there)]:
        return kept
    raise UserError("The validation section has none of the training sections' variable genes; choose another.")


def _save(plan: Plan, run: RunFolder, state: State, device: torch.device) -> Job[None]:
    """Write the checkpoint, and the last one beside it where another epoch was better."""
    weights, last = inference_state(state.model), state.epochs
    best = state.best_epoch or last
    config, parts = plan.config, plan.training.parts
    sections = [part.section for part in parts]
    usual = yield from training_tissue(sections)
    thumbnails = run.path / THUMBNAILS if config.thumbnails else None
    if thumbnails is not None:
        rows = [part.rows for part in parts]
        yield from training_thumbnails(list(zip(plan.training.patches, rows, strict=True)), thumbnails)

    def checkpoint(weights: dict[str, torch.Tensor], epoch: int) -> Job[Checkpoint]:
        model = CMRCNet(replace(plan.settings, reconstruction=False))  # the rest of it only trains
        model.load_state_dict(weights)
        bank = build_bank(model, sections, plan.genes, device, [part.target_sum for part in parts])
        floor = yield from training_floor(plan.training, config.asked_with, model, bank, device)
        pcc = state.history[epoch - 1].validation_pcc
        card = replace(_card(plan, epoch), validation_pcc=pcc, usual_tissue=usual, similarity_floor=floor)
        return Checkpoint(card, model, bank, thumbnail_file=thumbnails)

    if best < last:
        (yield from checkpoint(weights, last)).save(run.path / LAST)
        weights = state.best
    else:
        shutil.rmtree(run.path / LAST, ignore_errors=True)  # of an earlier training
    trained = yield from checkpoint(weights, best)
    yield Progress("Saving the checkpoint", 0, 1)
    trained.save(run.out)


def _card(plan: Plan, epoch: int) -> Card:
    config, sections = plan.config, [part.section for part in plan.training.parts]
    held_out = [part.section for reader in plan.validation for part in reader.parts]
    names = tuple(section.name for section in sections)
    return Card(
        model=plan.settings,
        genes=tuple(plan.genes),
        sections=names,
        patients=tuple(dict.fromkeys(section.patient for section in (*sections, *held_out))),
        seed=config.seed,
        epochs=epoch,
        preprocessing=config.preprocessing,
        query=config.asked_with,
        validated_on=tuple(section.name for section in held_out if section.name not in names),
        panel=config.panel,
        variable_genes=tuple(plan.variable),
        total_genes={section.name: total_genes(section.spots) for section in sections},
        synthetic=any(section.origin.synthetic for section in sections),
    )
