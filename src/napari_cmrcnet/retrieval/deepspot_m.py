"""DeepSpot-M (Nonchev et al., medRxiv 2026), by its authors' package deepspotm 1.0.

lazyslide-models' class of it takes no folder of weights: it always asks the model hub. So the package that it stands on
is used here, which it would need as well.
"""

from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from napari_cmrcnet.common.errors import readable
from napari_cmrcnet.common.progress import Job
from napari_cmrcnet.retrieval.encode import encode_patches, readers
from napari_cmrcnet.retrieval.external_files import ExternalTable
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.ready_folder import DEEPSPOT_M
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.slides.patches import PatchSpec, read_patches

PATCH = PatchSpec(224, 0.5)  # its authors' 20x
MIDDLE = (0.5, 0.5, 0.5)  # mean and deviation of its image transform, which only scales a patch of this size
EMBEDDINGS = "scgpt"  # of genes; what its authors' examples take


class _Whole(nn.Module):
    """The network as an encoder, of which each number is a gene."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def embed_image(self, pixels: Tensor) -> Tensor:
        """Predict expression (b, genes) from patches (b, 3, 224, 224)."""
        expression: Tensor = self.network(pixels)[0]
        return expression


def deepspot_m(section: Section, folder: Path, config: PredictConfig, device: torch.device) -> Job[ExternalTable]:
    """Predict a section by DeepSpot-M; nothing is fetched.

    Parameters
    ----------
    section, config, device
        As `predict_ready` has them.
    folder : Path
        With ``config.json``, ``model.safetensors`` and ``tokens.csv``.

    Returns
    -------
    ExternalTable
        log(1 + counts per million) of about 19,000 genes by symbol.

    Raises
    ------
    UserError
        If a file is not what it should be, DeepSpot-M fails, or patches cannot be read.
    """
    advice = f"check its files, or its package ({DEEPSPOT_M.advice})"
    with readable(folder, "could not be opened as DeepSpot-M", advice):
        from deepspotm import DeepSpotM

        network, _ = DeepSpotM.from_pretrained(str(folder), source=EMBEDDINGS, device=device)
    patches = read_patches(section.slide, section.xy, PATCH, section.mpp, config.batch_size, readers(device))
    with readable(folder, "could not be run as DeepSpot-M", advice):
        values = yield from encode_patches(
            _Whole(network), patches, section, mean=MIDDLE, std=MIDDLE, device=device, precision=config.precision
        )
    genes = pd.DataFrame(index=pd.Index(list(network.gene_names), dtype=object))
    return ExternalTable(values, section.spots.obs_names.astype(object), genes)
