"""What a checkpoint's card says of the frozen encoder that the model stands on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.json_entries import read_entries
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
    """

    name: str
    weights: str
    source: str
    settings: Mapping[str, Any]

    @property
    def encoder(self) -> FrozenEncoder:
        """The encoder."""
        return encoder_named(self.name)

    @classmethod
    def read(cls, value: Any) -> "EncoderEntry | None":
        """Read the entry from JSON, null if the model stands on no frozen encoder.

        Raises
        ------
        UserError
            If the encoder is unknown here, or described otherwise; the message is the second half of a sentence.
        """
        if value is None:
            return None
        entry = read_entries(cls, value, settings=dict)
        try:
            known = feature_settings(entry.encoder)
        except UserError as error:
            raise UserError(f"stands on an encoder that is not known here: {error}") from error
        if dict(entry.settings) != known:
            raise UserError(
                f"uses the encoder {entry.name} with other settings than this version of the software; update "
                "napari-cmrcnet, or train again"
            )
        return entry


def fields_of(encoder: FrozenEncoder) -> tuple[PatchSpec, ...]:
    """Return the squares around a spot that are encoded: cells, and two and four times as wide the tissue around."""
    return tuple(PatchSpec(encoder.px, times * encoder.mpp) for times in FIELDS)


def feature_settings(encoder: FrozenEncoder) -> dict[str, Any]:
    """Return all that decides the features of a spot but the weights, as JSON would read it back."""
    fields = [[spec.patch_px, spec.model_mpp] for spec in fields_of(encoder)]
    return {**encoder.settings(), "fields": fields, "spots_around": "in the widest field"}
