"""How well a model does on patients that it has not seen: each is left out in turn and predicted from the others."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_cmrcnet.common.files import write_json
from napari_cmrcnet.common.progress import Job, within
from napari_cmrcnet.common.text import parse_json
from napari_cmrcnet.evaluation.picture_file import file_names
from napari_cmrcnet.evaluation.scores import pcc_job
from napari_cmrcnet.evaluation.set_scores import SETS
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.training.config import FitConfig
from napari_cmrcnet.training.data import left_out, left_out_names
from napari_cmrcnet.training.fit import fit
from napari_cmrcnet.training.run_folder import RunFolder

Pcc = Mapping[str, float | None]


@dataclass(frozen=True)
class LeftOut:
    """What leaving out came to.

    Parameters
    ----------
    by : {"patient", "section", ""}
        What was left out in turn; ``""`` where there is but one section.
    sections : mapping of str to mapping of str to float or None
        By section, the mean PCC of HEG, HVG and markers in the prediction by a model that has not seen it.
    """

    by: str
    sections: Mapping[str, Pcc]

    @property
    def mean(self) -> dict[str, float | None]:
        """By set of genes, the mean over sections that have a score."""
        known = {name: [pcc[name] for pcc in self.sections.values()] for name in SETS}
        scores = {name: [value for value in values if value is not None] for name, values in known.items()}
        return {name: float(np.mean(values)) if values else None for name, values in scores.items()}

    @property
    def words(self) -> str:
        """What it came to, in a sentence."""
        if not self.by:
            return "There is only one section, so how well the model predicts another could not be measured."
        figures = [f"{name} {value:.3f}" for name, value in self.mean.items() if value is not None]
        return f"Mean PCC with each {self.by} left out in turn: {', '.join(figures) or 'none is defined'}."


def leave_out(sections: Sequence[Section], config: FitConfig, folder: Path) -> Job[LeftOut]:
    """Leave out each patient in turn, or each section where all are of one, and score the prediction of it.

    Parameters
    ----------
    sections : sequence of Section
        With counts.
    config : FitConfig
        How to train.
    folder : Path
        Keeps what each came to, so that a stopped run goes on.

    Raises
    ------
    UserError
        As `fit` and `predict`.
    """
    by = left_out(sections).removesuffix("s")
    groups: dict[str, list[Section]] = {}
    for section, name in zip(sections, left_out_names(sections), strict=True) if by else ():
        groups.setdefault(name, []).append(section)
    found: dict[str, Pcc] = {}
    for done, ((name, held), file) in enumerate(zip(groups.items(), file_names(list(groups)), strict=True)):
        kept = folder / f"{file}.json"
        if (scores := _kept(kept, held)) is None:
            others = [section for section in sections if section not in held]
            run = RunFolder(folder / f"{file}.cmrcnet")
            job = _scored(others, held, replace(config, thumbnails=False), run.out)
            scores = yield from within(f"Without {by} {name} ({done + 1} of {len(groups)})", job)
            write_json(kept, scores)
            for made in (run.out, run.path):
                shutil.rmtree(made, ignore_errors=True)
        found |= scores
    return LeftOut(by, {section.name: found[section.name] for section in sections if by})


def _scored(others: Sequence[Section], held: Sequence[Section], config: FitConfig, out: Path) -> Job[dict[str, Pcc]]:
    checkpoint = yield from fit(others, config, out, resume=True)
    scores: dict[str, Pcc] = {}
    for section in held:
        asked = PredictConfig(device=config.device, panel=config.panel)
        prediction = yield from predict(section, checkpoint, asked, checks=())  # our own: nothing to warn of
        sets = (yield from pcc_job(prediction)).sets
        scores[section.name] = {name: sets[name].pcc for name in SETS}
    return scores


def _kept(path: Path, held: Sequence[Section]) -> dict[str, Pcc] | None:
    """Return what leaving out came to before, None where it was not done."""
    try:
        content: dict[str, Any] = parse_json(path.read_text("utf-8"))
        return {section.name: {name: content[section.name][name] for name in SETS} for section in held}
    except (OSError, ValueError, KeyError, TypeError):
        return None
