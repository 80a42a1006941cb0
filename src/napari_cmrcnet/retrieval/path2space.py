"""Path2Space (Shulman et al., Cell 2026), a ready predictor of breast tumours: run with its published weights.

It is cTransPath's features of stain-normalised patches, the mean of 22 × 7 small networks on them, and the mean over
neighbouring spots. Source: the authors' repository path2space-companion (Apache-2.0); the user brings their weights.
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
from PIL import Image
from scipy.ndimage import sobel
from scipy.spatial import cKDTree
from torch import Tensor, nn

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.text import count_text, read_text
from napari_cmrcnet.model.pretrained import with_weights
from napari_cmrcnet.model.weights import mismatches, read_weights
from napari_cmrcnet.retrieval.encode import encode_patches, readers
from napari_cmrcnet.retrieval.external_files import ExternalTable
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.ready_folder import PATH2SPACE
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.slides.patches import PatchBatch, PatchSpec, read_patches
from napari_cmrcnet.slides.stain_normalisation import normalise_stain

Bools = NDArray[np.bool_]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Pixels = NDArray[np.uint8]

NAME = PATH2SPACE.name
GENES, NETWORKS = PATH2SPACE.files
ENCODER = "ctranspath.pth"
FOLDS = (22, 7)  # outer and inner, of which each has a network
SIDE_UM, INPUT_PX = 100, 224  # of a patch: on the slide, as in its paper, and as cTransPath reads it
WEAKEST_EDGE = 15  # of brightness over three pixels, by Sobel
MOST_WITHOUT_EDGE = 0.5  # of a patch's pixels
REACH = 2.0  # patches, within which spots are averaged


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


def path2space(section: Section, folder: Path, config: PredictConfig, device: torch.device) -> Job[ExternalTable]:
    """Predict a section by Path2Space.

    Parameters
    ----------
    section : Section
        Slide and spots; a spot whose patch has few edges, too little tissue or one colour is left out.
    folder : Path
        With ``ctranspath.pth``, ``genes.txt`` and ``mlp_ensemble/result_I_J_0/model_trained.pth``.
    config, device
        As `predict_ready` has them.

    Returns
    -------
    ExternalTable
        Its values are not below 0.

    Raises
    ------
    UserError
        Before any work: if weights are missing or no gene is named. Later: if they or patches cannot be read.
    """
    files = [folder / NETWORKS / f"result_{i}_{j}_0" / "model_trained.pth" for i, j in product(*map(range, FOLDS))]
    if missing := [file for file in files if not file.is_file()]:
        missing_of = count_text(len(missing), "network", len(files))
        raise UserError(f"{missing[0]}: {NAME} lacks {missing_of}; unpack its whole archive.")
    with readable(folder / GENES, "is not a readable list of genes", f"unpack {NAME}'s archive again"):
        genes = read_text(folder / GENES).split()
    if not genes:
        raise UserError(f"{folder / GENES} names no gene; unpack {NAME}'s archive again.")
    features, described = yield from _features(section, folder / ENCODER, config, device)
    if not described.any():
        raise UserError(f"No patch of {section.name} shows enough tissue for {NAME}; check the spots.")
    values = yield from _mean_of_networks(files, features[described], len(genes), device)
    values = _smoothed(values, section.xy[described], SIDE_UM / section.mpp)
    known = pd.DataFrame(index=pd.Index(genes, dtype=object))
    return ExternalTable(values, section.spots.obs_names[described].astype(object), known)


def _features(
    section: Section, weights: Path, config: PredictConfig, device: torch.device
) -> Job[tuple[Float32, Bools]]:
    """Return cTransPath's features of all spots, and of which they are known."""
    encoder = with_weights("ctranspath", weights)
    patch = PatchSpec(max(1, round(SIDE_UM / section.mpp)), section.mpp)  # in the slide's own pixels
    described = np.ones(len(section.spots), np.bool_)

    def normalised() -> Generator[PatchBatch]:
        read = read_patches(section.slide, section.xy, patch, section.mpp, config.batch_size, readers(device))
        with closing(read) as batches:
            for batch in batches:
                pixels = np.zeros((len(batch.rows), INPUT_PX, INPUT_PX, 3), np.uint8)
                for place, (row, one) in enumerate(zip(batch.rows, batch.pixels, strict=True)):
                    changed = normalise_stain(one) if _has_edges(one) else None
                    described[row] = changed is not None
                    if changed is not None:
                        pixels[place] = _resized(changed)
                yield replace(batch, pixels=pixels)

    features = yield from encode_patches(
        encoder.network(),
        normalised(),
        section,
        mean=encoder.encoder.mean,
        std=encoder.encoder.std,
        device=device,
        precision=config.precision,
    )
    return features, described


def _has_edges(pixels: Pixels) -> bool:
    """Say whether enough of a patch has edges, as its authors tell tissue from glass and blur."""
    grey = np.asarray(Image.fromarray(pixels).convert("L"), np.float32)
    across, down = (np.minimum(np.abs(sobel(grey, axis, mode="mirror")), 255) for axis in (1, 0))
    without = np.rint((across + down) / 2) < WEAKEST_EDGE
    return float(without.mean()) <= MOST_WITHOUT_EDGE


def _resized(pixels: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((INPUT_PX, INPUT_PX), Image.Resampling.BILINEAR))


def _smoothed(values: Float32, xy: Float64, side: float) -> Float32:
    """Average each spot's values with those of the spots around it, in a grid of patches of ``side`` pixels."""
    cells = np.floor((xy - xy.min(axis=0)) / side)
    near = cKDTree(cells).query_ball_point(cells, REACH)
    return np.stack([values[rows].mean(axis=0) for rows in near])


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
