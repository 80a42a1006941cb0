"""Path2Space (Shulman et al., Cell 2026), a ready predictor of breast tumours: run with its published weights.

It is cTransPath's features of stain-normalised patches, and the mean of 22 × 7 small networks on them. Source: the
authors' repository path2space-companion (Apache-2.0); the user brings their weights.
"""

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_cmrcnet.common.device import choose_device, choose_precision
from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.text import read_text
from napari_cmrcnet.model.pretrained import with_weights
from napari_cmrcnet.model.weights import mismatches, read_weights
from napari_cmrcnet.retrieval.encode import encode_patches, readers
from napari_cmrcnet.retrieval.external import of_table
from napari_cmrcnet.retrieval.external_files import ExternalTable
from napari_cmrcnet.retrieval.path2space_folder import ENCODER, GENES, NAME, NETWORKS
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.slides.patches import PatchBatch, PatchSpec, read_patches, unreadable_error
from napari_cmrcnet.slides.stain_normalisation import normalise_stain

Float32 = NDArray[np.float32]

FOLDS = (22, 7)  # outer and inner, of which each has a network
PATCH = PatchSpec(224, 100 / 224)  # 100 µm, as for whole slides in its paper


class _Network(nn.Module):
    """One of its networks; the names of the layers are those of its files."""

    def __init__(self, features: int, genes: int) -> None:
        super().__init__()
        self.layer0 = nn.Sequential(nn.Linear(features, features), nn.ReLU())
        self.layer1 = nn.Sequential(nn.Linear(features, genes), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Predict expression (n, genes), not below 0, from features (n, features)."""
        predicted: Tensor = self.layer1(self.layer0(x))
        return predicted


def predict_path2space(section: Section, folder: Path, config: PredictConfig | None = None) -> Job[Prediction]:
    """Predict a section by Path2Space.

    Not done here: its filter of tiles with few edges, and its smoothing over neighbouring spots. Patches have their
    224 pixels before their stain is normalised, not after.

    Parameters
    ----------
    section : Section
        Slide and spots; a spot whose patch shows too little tissue or one colour is left out.
    folder : Path
        With ``ctranspath.pth``, ``genes.txt`` and ``mlp_ensemble/result_I_J_0/model_trained.pth``.
    config : PredictConfig, optional
        How to predict; it has no ``k``.

    Returns
    -------
    Prediction
        Its values are as they come, not below 0; it has no neighbours.

    Raises
    ------
    UserError
        Before any work: if weights are missing or no gene is named. Later: if they or patches cannot be read.
    """
    config = config or PredictConfig()
    if config.k is not None:
        raise UserError(f"{NAME} averages no training spots; leave k out.", setting="k")
    files = [folder / NETWORKS / f"result_{i}_{j}_0" / "model_trained.pth" for i, j in product(*map(range, FOLDS))]
    if missing := [file for file in files if not file.is_file()]:
        lacking = f"{len(missing)} of {NAME}'s {len(files)} networks {'is' if len(missing) == 1 else 'are'} missing"
        raise UserError(f"{missing[0]}: {lacking}; unpack its whole archive.")
    with readable(folder / GENES, "is not a readable list of genes", f"unpack {NAME}'s archive again"):
        genes = read_text(folder / GENES).split()
    if not genes:
        raise UserError(f"{folder / GENES} names no gene; unpack {NAME}'s archive again.")
    device = choose_device(config.device)
    features, described = yield from _features(section, folder / ENCODER, config, device)
    if not described.any():
        raise UserError(f"No patch of {section.name} shows enough tissue for {NAME}; check the spots.")
    values = yield from _mean_of_networks(files, features[described], len(genes), device)
    known = pd.DataFrame(index=pd.Index(genes, dtype=object))
    table = ExternalTable(values, section.spots.obs_names[described].astype(object), known)
    found = of_table(table, folder, section.spots, scale="log", panel=config.panel, slide=section.slide)
    size = section.pixel_size
    found.provenance = replace(
        found.provenance, section=section.name, patient=section.patient, mpp=size.um, mpp_source=size.source
    )
    return found


def _features(
    section: Section, weights: Path, config: PredictConfig, device: torch.device
) -> Job[tuple[Float32, NDArray[np.bool_]]]:
    """Return cTransPath's features of all spots, and of which they are known."""
    encoder, n = with_weights("ctranspath", weights), len(section.spots)
    described = np.ones(n, np.bool_)

    def normalised() -> Generator[PatchBatch]:
        read = read_patches(section.slide, section.xy, PATCH, section.mpp, config.batch_size, readers(device))
        with closing(read) as batches:
            for batch in batches:
                for row, pixels in zip(batch.rows, batch.pixels, strict=True):
                    changed = normalise_stain(pixels)
                    described[row] = changed is not None
                    pixels[:] = pixels if changed is None else changed
                yield batch

    encoded = yield from encode_patches(
        encoder.network(),
        normalised(),
        n,
        mean=encoder.encoder.mean,
        std=encoder.encoder.std,
        device=device,
        precision=choose_precision(device, config.precision),
    )
    if len(encoded.unreadable):
        raise unreadable_error(section.slide, section.spots.obs_names[encoded.unreadable].tolist(), n)
    return encoded.embeddings, described


def _mean_of_networks(files: list[Path], features: Float32, genes: int, device: torch.device) -> Job[Float32]:
    """Return the mean prediction (n, genes) of all networks."""
    network = _Network(features.shape[1], genes).to(device).eval()
    own, x = network.state_dict(), torch.from_numpy(features).to(device)
    total = torch.zeros(len(x), genes, device=device)
    for done, file in enumerate(files):
        yield Progress(f"Predicting with {NAME}", done, len(files), "networks")
        state = read_weights(file)
        if differences := mismatches(state, own):
            raise UserError(f"{file} is not a network of {NAME} with the genes of {GENES}: {differences}.")
        network.load_state_dict(state)
        with torch.inference_mode():
            total += network(x)
    yield Progress(f"Predicting with {NAME}", len(files), len(files), "networks")
    mean: Float32 = (total / len(files)).cpu().numpy()
    return mean
