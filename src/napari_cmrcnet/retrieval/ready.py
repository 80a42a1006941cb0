"""Ready predictors: run on a section with weights that the user brings; their values have no neighbours."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from napari_cmrcnet.common.device import choose_device
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job
from napari_cmrcnet.retrieval.deepspot_m import deepspot_m
from napari_cmrcnet.retrieval.external import of_table
from napari_cmrcnet.retrieval.external_files import ExternalTable
from napari_cmrcnet.retrieval.path2space import path2space
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.ready_folder import DEEPSPOT_M, PATH2SPACE, STPATH, ReadyPredictor
from napari_cmrcnet.retrieval.stpath import stpath
from napari_cmrcnet.sections.section import Section

_RUN: dict[ReadyPredictor, Callable[[Section, Path, PredictConfig, torch.device], Job[ExternalTable]]] = {
    PATH2SPACE: path2space,
    STPATH: stpath,
    DEEPSPOT_M: deepspot_m,
}


def predict_ready(
    section: Section, folder: Path, predictor: ReadyPredictor, config: PredictConfig | None = None
) -> Job[Prediction]:
    """Predict a section by a predictor that its authors trained.

    Parameters
    ----------
    section : Section
        Slide and spots.
    folder : Path
        With the predictor's weights.
    predictor : ReadyPredictor
        As `ready_in` finds it.
    config : PredictConfig, optional
        How to predict; it has no ``k``.

    Returns
    -------
    Prediction
        Its values are taken as log-normalised, as they come; it has no neighbours.

    Raises
    ------
    UserError
        Before any work: if weights or packages are missing. Later: if they or patches cannot be read.
    """
    config = config or PredictConfig()
    if config.k is not None:
        raise UserError(f"{predictor.name} averages no training spots; leave k out.", setting="k")
    predictor.check_installed()
    table = yield from _RUN[predictor](section, folder, config, choose_device(config.device))
    found = of_table(table, folder, section.spots, scale="log", panel=config.panel, slide=section.slide)
    about, size = found.provenance, section.pixel_size
    found.provenance = replace(
        about,
        section=section.name,
        patient=section.patient,
        mpp=size.um,
        mpp_source=size.source,
        notes=(*about.notes, f"Predicted by {predictor.name}; no value has training spots behind it."),
    )
    return found
