"""cTransPath, a pretrained histology encoder (Wang et al., Med Image Anal 81:102559, 2022), with ridge regression."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_cmrcnet.benchmark.methods.baselines import training_expression
from napari_cmrcnet.benchmark.methods.method import EncoderWeights, Task
from napari_cmrcnet.benchmark.methods.regression import apply_in_batches, timm_encoder
from napari_cmrcnet.common.device import choose_device
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.model.conv_stem import ConvStem
from napari_cmrcnet.model.weights import load_weights
from napari_cmrcnet.retrieval.encode import to_input
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.slides.patch_cache import patch_cache
from napari_cmrcnet.slides.patches import PatchSpec

Float32 = NDArray[np.float32]

CTRANSPATH = "ctranspath"
CTRANSPATH_PX = 224  # the only size its windows divide


@dataclass(frozen=True)
class CTransPath:
    """Features of a frozen encoder, standardised, 256 principal components of them, and ridge regression.

    The protocol is that of hest-bench (Jaume et al., NeurIPS 2024): no intercept, least squares by LSQR, and a penalty
    of 100 / (components · genes). Expression is centred on the training mean, which is added again: on centred
    components that changes no coefficient, but gives predictions in units of expression.

    Parameters
    ----------
    encoder : str
        ``"ctranspath"``, for the authors' file ``ctranspath.pth``, or any timm model. Its weights are the task's.
    components : int
        Principal components, fewer where there are fewer spots or features.
    """

    encoder: str = CTRANSPATH
    components: int = 256

    name: ClassVar[str] = "ctranspath"
    encoder_weights: ClassVar[EncoderWeights] = "needed"

    @property
    def title(self) -> str:
        """In tables: the encoder's name."""
        return "cTransPath" if self.encoder == CTRANSPATH else self.encoder

    def fit(self, task: Task) -> Job["EncodedRidge"]:
        """Encode the training patches and solve the regression.

        Raises
        ------
        UserError
            If weights are not given, or are of another model.
        """
        from sklearn.decomposition import PCA
        from sklearn.linear_model import Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        if task.weights is None:
            raise UserError(f"{self.title} is a pretrained encoder: give the file of its weights.")
        encoder = FrozenEncoder(self.encoder, task.patch, task.weights, choose_device(task.device))
        blocks = []
        for section in task.training:
            blocks.append((yield from encoder.encode(section)))
        features = np.concatenate(blocks)
        yield Progress("Fitting", 0, 1)
        components = min(self.components, len(features) - 1, features.shape[1])
        alpha = 100 / (components * len(task.genes))
        regressor = make_pipeline(
            StandardScaler(),
            PCA(components, random_state=task.seed),
            Ridge(alpha=alpha, fit_intercept=False, solver="lsqr", random_state=task.seed),
        )
        expression = training_expression(task)
        mean = expression.mean(axis=0)
        regressor.fit(features, expression - mean)
        yield Progress("Fitting", 1, 1)
        return EncodedRidge(encoder, regressor, mean)


@dataclass(frozen=True, eq=False)
class EncodedRidge:
    """A frozen encoder and a fitted pipeline."""

    encoder: "FrozenEncoder"
    regressor: Any
    mean: Float32
    notes: ClassVar[tuple[str, ...]] = ()

    def predict(self, section: Section) -> Job[Float32]:
        """Encode the patches and predict from that."""
        features = yield from self.encoder.encode(section)
        return np.asarray(self.regressor.predict(features) + self.mean, np.float32)


class FrozenEncoder:
    """An encoder with weights from a file, which are not trained.

    Parameters
    ----------
    name : str
        ``"ctranspath"`` or a timm model.
    patch : PatchSpec
        Of the patches; cTransPath gets them in 224 px whatever their size.
    weights : Path
        Local file.
    device : torch.device
        Where to encode.
    """

    def __init__(self, name: str, patch: PatchSpec, weights: Path, device: torch.device) -> None:
        self.patch, self.device = patch, device
        self.side = CTRANSPATH_PX if name == CTRANSPATH else patch.patch_px
        network = load_ctranspath(weights) if name == CTRANSPATH else timm_encoder(name, self.side, weights)[0]
        self.network = network.to(device).eval()

    def encode(self, section: Section) -> Job[Float32]:
        """Encode a section's patches, float32 (n, features)."""
        patches = yield from patch_cache(section, self.patch)
        features = yield from apply_in_batches("Encoding patches", self.network, self._forward, patches, self.device)
        return features

    def _forward(self, pixels: Tensor) -> Tensor:
        inputs = to_input(pixels, device=self.device)
        if inputs.shape[-1] != self.side:
            inputs = nn.functional.interpolate(
                inputs, size=(self.side, self.side), mode="bilinear", antialias=True, align_corners=False
            )
        features: Tensor = self.network(inputs)
        return features


def load_ctranspath(weights: Path) -> nn.Module:
    """Load the authors' weights into timm's Swin-T with cTransPath's stem.

    The authors' file is of a fork of timm 0.5.4: timm's own filter renames its stages and drops its buffers.

    Raises
    ------
    UserError
        If the file is missing, unreadable or of another model.
    """
    network = ctranspath_network()
    load_weights(network, weights, CTRANSPATH)
    return network


def ctranspath_network(embed_dim: int = 96) -> nn.Module:
    """Build cTransPath: Swin-T (patch 4, window 7) whose patches come from a convolutional stem; 8 · 96 features."""
    import timm

    network: nn.Module = timm.create_model(
        "swin_tiny_patch4_window7_224", num_classes=0, embed_layer=ConvStem, embed_dim=embed_dim
    )
    return network
