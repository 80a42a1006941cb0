"""What methods read of spots: their patches, or kept features of a frozen encoder, of which only heads are trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_cmrcnet.benchmark.methods.method import EncoderWeights, Task
from napari_cmrcnet.common.device import autocast, choose_device, enough_memory
from napari_cmrcnet.common.progress import Job, Progress, in_turn
from napari_cmrcnet.model.cmrcnet import BLOCKS
from napari_cmrcnet.model.config import preset
from napari_cmrcnet.model.encoders import build_image_encoder
from napari_cmrcnet.model.frozen_encoders import encoder_named
from napari_cmrcnet.model.pretrained import with_weights
from napari_cmrcnet.model.symmetries import SYMMETRIES, apply_symmetries
from napari_cmrcnet.retrieval.encode import to_input
from napari_cmrcnet.retrieval.frozen_features import spot_features
from napari_cmrcnet.retrieval.protocol import IMAGENET
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.sections.stain import PatchColours
from napari_cmrcnet.sections.totals import TARGET_SUM, TargetSum
from napari_cmrcnet.slides.patch_cache import patch_cache

Float32 = NDArray[np.float32]
Rows = NDArray[np.int64]
PATCHES_A_BATCH, FEATURES_A_BATCH = 64, 4096


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

    def inputs(self, task: Task, target_sum: TargetSum = TARGET_SUM) -> "Job[Inputs]":
        """Cut the patches of the training spots, or describe them by the frozen encoder."""
        device = choose_device(task.device)
        encoder = with_weights(self.frozen_encoder, task.weights) if self.frozen_encoder else None

        def of_section(section: Section) -> Job[NDArray[Any]]:
            return patch_cache(section, task.patch) if encoder is None else spot_features(section, encoder, device)

        each = yield from in_turn(map(of_section, task.training))
        images = [image for of_spots in each for image in np.asarray(of_spots)]
        return Inputs(images, task.expression(target_sum), of_section, device)

    def scratch_notes(self, title: str, task: Task) -> list[str]:
        """Say that an encoder whose published start is ImageNet had none, if it had none."""
        if self.frozen_encoder or task.weights is not None:
            return []
        return [f"{title} was trained from scratch; as published, its {self.encoder} starts from ImageNet."]


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a network reads of spots: an image and expression.

    Parameters
    ----------
    images : sequence of array
        Of each training spot its patch, uint8 (side, side, 3), read from the cache when it is asked for; or what the
        frozen encoder says of it, float32 (f,).
    expression : CSR float32 (n, genes)
        Log-normalised expression of the task's genes at the training spots.
    of_section : callable
        Returns the job that gives such images of all spots of a section, in one array.
    device : torch.device
        Where a batch goes.
    colour : PatchColours
        By which the pixels of patches are shifted and scaled.
    """

    images: Sequence[NDArray[Any]]
    expression: Any
    of_section: Callable[[Section], Job[NDArray[Any]]]
    device: torch.device
    colour: PatchColours = IMAGENET

    def read(self, rows: Rows, symmetries: NDArray[np.bool_] | None = None) -> tuple[Tensor, Tensor]:
        """Return the images of some training spots as a network reads them, see `prepared`, and expression (b, genes).

        ``symmetries`` are those by which patches are flipped and turned.
        """
        images = torch.from_numpy(np.stack([self.images[row] for row in rows])).to(self.device)
        expression = torch.from_numpy(self.expression[rows].toarray()).to(self.device)
        return self.prepared(images, symmetries), expression

    def prepared(self, images: Tensor, symmetries: NDArray[np.bool_] | None = None) -> Tensor:
        """Turn patches, and shift and scale their pixels, (b, 3, side, side); features stay as they are, (b, f)."""
        if images.ndim == 2:
            return images
        if symmetries is not None:
            images = apply_symmetries(images, symmetries)
        return to_input(images, *self.colour, device=self.device)

    def apply(
        self, network: nn.Module, forward: Callable[[Tensor], Tensor], section: Section, *, turned: bool = False
    ) -> Job[Float32]:
        """Apply a network to all spots of a section, float32 (n, d); where ``turned``, the mean over their symmetries.

        The network is left in evaluation mode. Kept features are of patches that are not turned.
        """
        images = yield from self.of_section(section)
        title, size = ("Predicting", FEATURES_A_BATCH) if images.ndim == 2 else ("Encoding patches", PATCHES_A_BATCH)
        symmetries = SYMMETRIES if turned and images.ndim > 2 else SYMMETRIES[:1]
        network.eval()
        blocks = []
        for start in range(0, len(images), size):
            yield Progress(title, start, len(images), "patches")
            batch = torch.from_numpy(np.array(images[start : start + size])).to(self.device)
            # Inference mode belongs to the thread: entered for each batch, it never reaches who runs this job.
            with enough_memory(self.device, "a batch"), torch.inference_mode(), autocast(self.device):
                each = [forward(self.prepared(batch, one)) for one in symmetries]
                blocks.append(torch.stack(each).float().mean(dim=0).cpu().numpy())
        yield Progress(title, len(images), len(images), "patches")
        return np.concatenate(blocks)


def weights_of(encoder: str) -> EncoderWeights:
    """Say whether the file of an encoder's weights must be given."""
    return "none" if encoder_named(encoder).package else "needed"
