"""STPath (Huang et al., npj Digital Medicine 2025), through lazyslide-models 0.1, on GigaPath's features.

Source: that package's ``feature_prediction/stpath``. A transformer sees all spots of a section at once. Organ and
technology are left open, as its authors' code does where they are not known.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.progress import Job, Progress, in_thread
from napari_cmrcnet.model.pretrained import with_weights
from napari_cmrcnet.retrieval.external_files import ExternalTable
from napari_cmrcnet.retrieval.frozen_features import field_features
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.ready_folder import STPATH
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.slides.patches import PatchSpec

ENCODER = "pytorch_model.bin"  # GigaPath's, as its authors publish it


def stpath(section: Section, folder: Path, _: PredictConfig, device: torch.device) -> Job[ExternalTable]:
    """Predict a section by STPath; nothing is fetched.

    Parameters
    ----------
    section, device
        As `predict_ready` has them.
    folder : Path
        With ``stfm.pth``, ``symbol2ensembl.json`` and GigaPath's ``pytorch_model.bin``.

    Returns
    -------
    ExternalTable
        log(1 + x) of 38,982 genes by Ensembl id, with the measured symbol, else the first that the file has.

    Raises
    ------
    UserError
        If a file is missing or not what it should be, STPath fails, or there are more spots than it takes at once.
    """
    encoder = with_weights("prov-gigapath", folder / ENCODER)
    weights, vocabulary = (str(folder / name) for name in STPATH.files)
    advice = f"check its files, or its packages ({STPATH.advice})"
    with readable(folder, "could not be opened as STPath", advice):
        from lazyslide_models.feature_prediction import STPath

        model = STPath(model_path=weights, gene_voc_path=vocabulary).to(device)
    if len(section.spots) > model.max_spots:
        raise UserError(
            f"STPath sees all spots at once, at most {model.max_spots:,}, and {section.name} has "
            f"{len(section.spots):,}; set the spots farther apart."
        )
    patch = PatchSpec(encoder.encoder.px, encoder.encoder.mpp)
    features = yield from field_features(section, patch, encoder, device)
    step = Progress("Predicting with STPath", 0, 0)
    with readable(folder, "could not be run as STPath", advice):
        found = yield from in_thread(lambda: model.predict(np.asarray(features, np.float32), section.xy), step)
        known: dict[str, str] = model.vocab.symbol2ensembl
        symbols = {gene: symbol for symbol, gene in reversed(known.items())}
        symbols |= {known[symbol]: symbol for symbol in section.spots.var_names if symbol in known}
        genes = pd.DataFrame({"symbol": [symbols[gene] for gene in found]}, index=pd.Index(list(found), dtype=object))
        values = np.stack(list(found.values()), axis=1).astype(np.float32, copy=False)
    return ExternalTable(values, section.spots.obs_names.astype(object), genes)
