"""cTransPath, a pretrained histology encoder (Wang et al., Med Image Anal 81:102559, 2022), with ridge regression."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.benchmark.methods.method import EncoderWeights, Fitted, Task
from napari_cmrcnet.common.device import choose_device
from napari_cmrcnet.common.progress import Job, Progress, in_turn
from napari_cmrcnet.model.frozen_encoders import encoder_named
from napari_cmrcnet.model.pretrained import with_weights
from napari_cmrcnet.retrieval.frozen_features import field_features
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.slides.patches import PatchSpec

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class CTransPath:
    """Features of a frozen encoder, standardised, 256 principal components of them, and ridge regression.

    A patch has the side in µm that it has for all methods, and as many pixels as the encoder reads. The protocol is
    that of hest-bench (Jaume et al., NeurIPS 2024): no intercept, least squares by LSQR, and a penalty
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

        device, encoder = choose_device(task.device), with_weights(self.encoder, task.weights)
        px = encoder.encoder.px
        patch = PatchSpec(px, task.patch.patch_px * task.patch.model_mpp / px)
        each = yield from in_turn(field_features(section, patch, encoder, device) for section in task.training)
        features = np.concatenate(each).astype(np.float32)
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
            features = yield from field_features(section, patch, encoder, device)
            return np.asarray(regressor.predict(features.astype(np.float32)) + mean, np.float32)

        return Fitted(predict)
