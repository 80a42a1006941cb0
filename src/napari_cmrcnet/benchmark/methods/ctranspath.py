"""cTransPath, a pretrained histology encoder (Wang et al., Med Image Anal 81:102559, 2022), with ridge regression."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_cmrcnet.benchmark.methods.method import EncoderWeights, Fitted, Task
from napari_cmrcnet.benchmark.methods.regression import apply_in_batches
from napari_cmrcnet.common.device import choose_device
from napari_cmrcnet.common.progress import Job, Progress, in_turn
from napari_cmrcnet.model.frozen_encoders import encoder_named
from napari_cmrcnet.model.pretrained import FrozenNetwork, with_weights
from napari_cmrcnet.retrieval.encode import to_input
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.slides.patch_cache import patch_cache
from napari_cmrcnet.slides.patches import PatchSpec

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class CTransPath:
    """Features of a frozen encoder, standardised, 256 principal components of them, and ridge regression.

    The protocol is that of hest-bench (Jaume et al., NeurIPS 2024): no intercept, least squares by LSQR, and a penalty
    of 100 / (components · genes). Expression is centred on the training mean, which is added again: on centred
    components that changes no coefficient, but gives predictions in units of expression.

    Parameters
    ----------
    encoder : str
        Name of the `FrozenEncoder`. Its weights are the task's: of cTransPath the authors' file ``ctranspath.pth``.
    components : int
        Principal components, fewer where there are fewer spots or features.
    """

    encoder: str = "ctranspath"
    components: int = 256

    encoder_weights: ClassVar[EncoderWeights] = "needed"

    @property
    def title(self) -> str:
        """In tables: the encoder's name."""
        return encoder_named(self.encoder).title

    def fit(self, task: Task) -> Job[Fitted]:
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

        device = choose_device(task.device)
        network = with_weights(self.encoder, task.weights).network().to(device)
        each = yield from in_turn(encoded(network, section, task.patch, device) for section in task.training)
        features = np.concatenate(each)
        yield Progress("Fitting", 0, 1)
        components = min(self.components, len(features) - 1, features.shape[1])
        alpha = 100 / (components * len(task.genes))
        regressor = make_pipeline(
            StandardScaler(),
            PCA(components, random_state=task.seed),
            Ridge(alpha=alpha, fit_intercept=False, solver="lsqr", random_state=task.seed),
        )
        expression = task.expression().toarray()
        mean = expression.mean(axis=0)
        regressor.fit(features, expression - mean)
        yield Progress("Fitting", 1, 1)

        def predict(section: Section) -> Job[Float32]:
            features = yield from encoded(network, section, task.patch, device)
            return np.asarray(regressor.predict(features) + mean, np.float32)

        return Fitted(predict)


def encoded(network: FrozenNetwork, section: Section, patch: PatchSpec, device: torch.device) -> Job[Float32]:
    """Encode a section's patches, scaled to the size that the network reads, float32 (n, features)."""
    encoder = network.encoder

    def forward(pixels: Tensor) -> Tensor:
        inputs, side = to_input(pixels, encoder.mean, encoder.std, device), (encoder.px, encoder.px)
        if inputs.shape[-2:] != side:
            inputs = nn.functional.interpolate(inputs, side, mode="bilinear", antialias=True, align_corners=False)
        return network.embed_image(inputs)

    patches = yield from patch_cache(section, patch)
    return (yield from apply_in_batches("Encoding patches", network, forward, patches, device))
