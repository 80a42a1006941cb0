"""What a training is asked to do."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.model.config import FROZEN, ModelConfig, Preset, preset
from napari_cmrcnet.model.frozen_encoders import DEFAULT, encoder_named
from napari_cmrcnet.retrieval.protocol import Preprocessing, Query
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.sections.totals import MEDIAN, TARGET_SUM, TargetSum, target_from
from napari_cmrcnet.slides.patches import PatchSpec

Variant = Literal["paper", "released", "tuned", "frozen"]
SECTION = "section:"
# Chosen on four sections of one patient, without pretrained weights; docs/results.md says how far that carries.
TUNED_MODEL: dict[str, Any] = {"image_encoder": "conv", "contrast": "clip", "temperature": 0.1}
TUNED_QUERY = Query(test_time_augmentation=True, neighbourhood_smoothing=1.0, k=200, weighted=True)
EPOCHS = {"tuned": 30}  # of each variant what it was measured with
USUAL_EPOCHS = 60  # of the others: the paper's
RELEASED_VALIDATION = 0.2
# May change when a training is resumed: where it runs, and what is kept beside its result.
MAY_CHANGE = ("device", "thumbnails")
# Settings that the frozen variant does not have, as their options are called; nor those of patch, query and model
NOT_FROZEN = ("preset", "epochs", "validation", "colour_normalisation", "batch_size", "learning_rate", "precision")
APART = ("genes",)  # a run's description has the genes by themselves


@dataclass(frozen=True)
class FitConfig:
    """How to train: by default the frozen variant, as ``train`` does.

    Parameters
    ----------
    preset : {"paper", "small", "tiny"}, optional
        Size of a network that is trained from scratch; by default small.
    variant : {"frozen", "tuned", "paper", "released"}, optional
        frozen: linear heads on the features of a frozen encoder, see `fit_frozen`; most other settings do not apply
        and must not be given. paper: the paper's equations. released: its published code. tuned: what did better on
        the four sections it was chosen on, which is the paper's model with a convolutional encoder, CLIP's loss, colour
        normalisation, test-time augmentation, neighbourhood smoothing, and more, weighted neighbours. By default
        frozen; with the preset "paper" paper, with another preset tuned.
    epochs : int, optional
        Passes over the training spots; by default 60, in the tuned variant 30.
    batch_size : int
        Spots whose pairs one contrastive loss compares, over all devices together; at least 4.
    learning_rate : float
        Learning rate of AdamW.
    precision : {"auto", "fp32", "bf16"}
        Precision of the forward pass on a GPU; auto is bf16 if the GPU supports it, fp32 on the CPU.
    seed : int
        Random seed of the initial weights, the order of spots, the augmentation, dropout and masks.
    device : str
        "auto", "cpu", "cuda", "cuda:1" or "mps".
    n_top_genes : int
        Highly variable genes of each training section; the model reads their union.
    genes : tuple of str, optional
        The genes that the model reads, instead of those.
    target_sum : float or "median", optional
        Total of a spot's counts after normalisation, as the model reads them. By default the median total of each
        section, as in the published code of CMRCNet and BLEEP; 10,000 in the tuned variant.
    patch : PatchSpec
        Patches cut at the spots.
    validation : None, "section:NAME" or float
        A section held out of training, or a share of every section's spots. The best epoch is then kept. If nothing is
        given, the released variant holds out a fifth of the spots, as its code does.
    colour_normalisation : bool, optional
        Remove from the patches of each section the colour that its stain and scanner give to all of them, see
        `Preprocessing`. By default only in the tuned variant.
    query : mapping
        Settings of `Query` instead of the variant's own: how the bank is searched and averaged in prediction (by
        default `TUNED_QUERY` in the tuned variant, else as published). A value of None counts as not given.
    panel : Panel, optional
        Marker genes that predictions with the checkpoint show first.
    data : str
        A sentence on the training data and their licence, kept in the checkpoint of a frozen model.
    thumbnails : bool
        Whether the checkpoint gets small pictures of the training patches, to show the spots behind a value. They
        show the patients' tissue to everyone who has the checkpoint.
    encoder : str
        Name of the frozen variant's encoder, see `frozen_encoders`.
    weights : path, optional
        Local weights of the image encoder. If not given, the frozen variant downloads them from the model hub.
    model : mapping
        Settings of `ModelConfig` instead of the preset's.

    Raises
    ------
    UserError
        If a setting is out of range.
    """

    preset: Preset = None  # type: ignore[assignment]  # these three follow from each other: see __post_init__
    variant: Variant = None  # type: ignore[assignment]
    epochs: int = None  # type: ignore[assignment]
    batch_size: int = 64
    learning_rate: float = 1e-4
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = 0
    device: str = "auto"
    n_top_genes: int = 1000
    genes: tuple[str, ...] | None = None
    target_sum: TargetSum | None = None
    patch: PatchSpec = field(default_factory=PatchSpec)
    validation: str | float | None = None
    colour_normalisation: bool | None = None
    query: Mapping[str, Any] = field(default_factory=dict)
    panel: Panel | None = None
    data: str = ""
    thumbnails: bool = True
    encoder: str = DEFAULT
    weights: Path | None = None
    model: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        of_preset: dict[str | None, Variant] = {None: "frozen", "paper": "paper"}
        self._set("variant", self.variant or of_preset.get(self.preset, "tuned"))
        self._set("query", {name: value for name, value in self.query.items() if value is not None})
        if self.target_sum is not None:
            self._set("target_sum", target_from(self.target_sum))
        self._at_least(n_top_genes=1, seed=0)
        encoder = encoder_named(self.encoder)
        if self.variant == "frozen":
            self._check_frozen()
            if encoder.package and self.weights is not None:
                raise UserError(f"The weights of {encoder.title} are installed; leave out --weights.")
            return
        if encoder.name != DEFAULT:
            raise UserError(
                "A network from scratch has no frozen encoder; leave out --encoder, or choose the variant frozen."
            )
        self._set("preset", self.preset or "small")
        self._set("epochs", EPOCHS.get(self.variant, USUAL_EPOCHS) if self.epochs is None else self.epochs)
        if self.variant == "released" and self.validation is None:
            self._set("validation", RELEASED_VALIDATION)
        self._at_least(epochs=1, batch_size=4)
        if not self.learning_rate > 0:
            raise UserError(f"The learning rate is {self.learning_rate:g}; give a number above 0, such as 1e-4.")
        if isinstance(self.validation, str) and not self.validation.startswith(SECTION):
            raise UserError(f"Validation {self.validation!r} is neither 'section:NAME' nor a share of the spots.")
        if isinstance(self.validation, float | int) and not 0 < self.validation < 1:
            raise UserError(f"The validation share is {self.validation:g}; give a number between 0 and 1, such as 0.2.")
        if self.asked_with.weighted and self.model_config(n_genes=1).contrast != "clip":
            raise UserError(
                "Neighbours are weighted by CLIP's loss, which this model is not trained with; weight them equally "
                "(--no-weighted), or train with --set contrast=clip."
            )

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _at_least(self, **least: int) -> None:
        for name, low in least.items():
            if getattr(self, name) < low:
                raise UserError(f"{name} is {getattr(self, name)}; give at least {low}.")

    def _check_frozen(self) -> None:
        """Refuse settings that the frozen variant does not have: it chooses its own inside the training sections."""
        options = [name for name in NOT_FROZEN if getattr(self, name) != getattr(FitConfig, name)]
        options += [name for name, value in asdict(self.patch).items() if value != asdict(PatchSpec())[name]]
        options += [*self.query, *("set" if name != "image_encoder" else name for name in self.model)]
        if options:
            said = ", ".join(f"--{name.replace('_', '-')}" for name in dict.fromkeys(options))
            raise UserError(
                f"The frozen variant does not take {said}: its encoder is fixed, and the rest is chosen on the "
                "training sections. Leave them out, or train from scratch (--preset small)."
            )

    @property
    def validation_section(self) -> str | None:
        """Name of the section kept out of training, if one is."""
        return self.validation.removeprefix(SECTION) if isinstance(self.validation, str) else None

    @property
    def decay(self) -> float:
        """Weight decay of AdamW: its own, or that of the published code."""
        return 1e-3 if self.variant == "released" else 1e-2

    @property
    def preprocessing(self) -> Preprocessing:
        """What happens to counts and pixels, the variant's own unless given."""
        tuned = self.variant == "tuned"
        colour_normalisation = tuned if self.colour_normalisation is None else self.colour_normalisation
        target_sum = self.target_sum or (MEDIAN if self.variant in ("paper", "released") else TARGET_SUM)
        return Preprocessing(target_sum, patch=self.patch, colour_normalisation=colour_normalisation)

    @property
    def asked_with(self) -> Query:
        """How the bank is asked and averaged, the variant's own unless given."""
        return replace(TUNED_QUERY if self.variant == "tuned" else Query(), **self.query)

    def model_config(self, n_genes: int) -> ModelConfig:
        """Return the settings of the network for a number of genes."""
        if self.variant == "frozen":
            return preset("tiny", n_genes, image_encoder=FROZEN + self.encoder, contrast="clip", reconstruction=False)
        tuned = self.variant == "tuned"
        settings: dict[str, Any] = {"variant": "paper", **TUNED_MODEL} if tuned else {"variant": self.variant}
        settings |= {"image_size": self.patch.patch_px, **self.model}
        return preset(self.preset, n_genes, **settings)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings that decide the result, as JSON would read them back."""
        settings = {name: value for name, value in asdict(self).items() if name not in MAY_CHANGE + APART}
        read_back: dict[str, Any] = json.loads(json.dumps(settings, default=str))
        return read_back
