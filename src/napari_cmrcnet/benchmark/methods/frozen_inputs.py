"""Methods on a frozen encoder: kept features take the place of patches, and only the method's own heads are trained."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_cmrcnet.benchmark.methods.method import EncoderWeights, Task
from napari_cmrcnet.benchmark.methods.regression import (
    PatchInputs,
    Rows,
    apply_in_batches,
)
from napari_cmrcnet.common.device import choose_device
from napari_cmrcnet.common.progress import Job, in_turn
from napari_cmrcnet.model.cmrcnet import BLOCKS
from napari_cmrcnet.model.config import preset
from napari_cmrcnet.model.encoders import build_image_encoder
from napari_cmrcnet.model.frozen_encoders import encoder_named
from napari_cmrcnet.model.pretrained import Pretrained, with_weights
from napari_cmrcnet.retrieval.frozen_features import spot_features
from napari_cmrcnet.retrieval.protocol import IMAGENET
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.sections.totals import TARGET_SUM, TargetSum
from napari_cmrcnet.slides.patch_cache import patch_cache
from napari_cmrcnet.training.data import BatchReader, SpotSet

Float32 = NDArray[np.float32]
SPOTS_A_BATCH = 4096


class ImageMethod:
    """What BLEEP and ST-Net share: a timm model reads the patches, or a frozen encoder's kept features replace them."""

    encoder: str
    frozen_encoder: str

    @property
    def encoder_weights(self) -> EncoderWeights:
        """Whether a file of weights may or must be given."""
        return weights_of(self.frozen_encoder) if self.frozen_encoder else "optional"

    def named(self, title: str) -> str:
        """Add the encoder to the method's title where it is not the published one."""
        return f"{title} on {encoder_named(self.frozen_encoder).title}" if self.frozen_encoder else title

    def image_encoder(self, task: Task) -> tuple[nn.Module, int]:
        """Build what comes before the heads, and the width of what it gives; kept features are left as they are."""
        if self.frozen_encoder:
            return nn.Identity(), BLOCKS * encoder_named(self.frozen_encoder).width
        # The other settings are of the rest of CMRCNet, which is not built.
        config = preset("tiny", 1, image_encoder=self.encoder, image_size=task.patch.patch_px)
        backbone: Any = build_image_encoder(config, task.weights).backbone  # without classifier, pooled as it does
        return backbone, int(backbone.head_hidden_size)

    def inputs(self, task: Task, target_sum: TargetSum = TARGET_SUM) -> "Job[PatchInputs | FrozenInputs]":
        """Cut the patches of the training spots, or describe them by the frozen encoder."""
        device = choose_device(task.device)
        expression = task.expression(target_sum)
        if not self.frozen_encoder:
            patches = yield from in_turn(patch_cache(section, task.patch) for section in task.training)
            files = tuple(Path(each.filename) for each in patches)  # type: ignore[attr-defined]
            file = np.repeat(np.arange(len(files)), [len(each) for each in patches])
            row = np.concatenate([np.arange(len(each)) for each in patches])
            spots = SpotSet(files, file, row, expression, (IMAGENET,) * len(files))
            return PatchInputs(BatchReader(spots), task.patch, device)
        encoder = with_weights(self.frozen_encoder, task.weights)
        features = yield from in_turn(spot_features(section, encoder, device) for section in task.training)
        stacked = torch.from_numpy(np.concatenate(features))
        return FrozenInputs(stacked, expression, encoder, device)

    def scratch_notes(self, title: str, task: Task) -> list[str]:
        """Say that an encoder whose published start is ImageNet had none, if it had none."""
        if self.frozen_encoder or task.weights is not None:
            return []
        return [f"{title} was trained from scratch: its {self.encoder} starts from ImageNet where it was published."]


@dataclass(frozen=True, eq=False)
class FrozenInputs:
    """What a method's heads read of spots; in place of `PatchInputs`.

    Parameters
    ----------
    features : float32 tensor, (n, f)
        As `spot_features` gives them, section after section.
    expression : CSR float32, (n, genes)
        Log-normalised expression of the task's genes.
    encoder : Pretrained
        Which describes spots.
    device : torch.device
        Where a batch goes.
    """

    features: Tensor
    expression: Any
    encoder: Pretrained
    device: torch.device

    def __len__(self) -> int:
        return len(self.features)

    def read(self, rows: Rows, _: NDArray[np.bool_] | None = None) -> tuple[Tensor, Tensor]:
        """Read features (b, f) and expression (b, genes) of some spots; kept features are of unturned patches."""
        expression = torch.from_numpy(self.expression[rows].toarray())
        return self.features[torch.from_numpy(rows)].to(self.device), expression.to(self.device)

    def apply(
        self,
        network: nn.Module,
        forward: Callable[[Tensor], Tensor],
        section: Section,
        *,
        turned: bool = False,  # noqa: ARG002 - kept features are of unturned patches
    ) -> Job[Float32]:
        """Apply heads to what the frozen encoder says of a section's spots, float32 (n, d)."""
        features = yield from spot_features(section, self.encoder, self.device)
        return (yield from apply_in_batches("Predicting", network, forward, features, self.device, SPOTS_A_BATCH))


def weights_of(encoder: str) -> EncoderWeights:
    """Say whether the file of an encoder's weights must be given."""
    return "none" if encoder_named(encoder).package else "needed"
