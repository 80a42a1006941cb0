"""What a checkpoint's card says of the frozen encoder that the model stands on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.model.frozen_encoders import FIELDS, FrozenEncoder, encoder_named
from napari_cmrcnet.slides.patches import PatchSpec


@dataclass(frozen=True)
class EncoderEntry:
    """An encoder as a model was trained on it.

    Parameters
    ----------
    name : str
        Of the list of encoders.
    weights : str
        SHA-256 of the file of weights.
    source : str
        Where that file was; ``""`` where a package ships it or the checkpoint has a copy.
    settings : mapping
        All that decides the features, see `feature_settings`.

    Raises
    ------
    UserError
        If the encoder is unknown here, or has other settings.
    """

    name: str
    weights: str
    source: str
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        if dict(self.settings) != feature_settings(self.encoder):
            raise UserError(
                f"It uses the encoder {self.name} with other settings than this version of the software; update "
                "napari-cmrcnet, or train again."
            )

    @property
    def encoder(self) -> FrozenEncoder:
        """The encoder."""
        return encoder_named(self.name)


def fields_of(encoder: FrozenEncoder) -> tuple[PatchSpec, ...]:
    """Return the squares around a spot that are encoded: cells, and two and four times as wide the tissue around."""
    return tuple(PatchSpec(encoder.px, times * encoder.mpp) for times in FIELDS)


def feature_settings(encoder: FrozenEncoder) -> dict[str, Any]:
    """Return all that decides the features of a spot but the weights, as JSON would read it back."""
    fields = [[spec.patch_px, spec.model_mpp] for spec in fields_of(encoder)]
    return {**encoder.settings(), "fields": fields, "spots_around": "in the widest field"}
