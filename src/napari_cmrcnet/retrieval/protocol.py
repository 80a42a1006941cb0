"""How a checkpoint predicts: what its model expects of pixels and counts, and how its bank is asked and averaged."""

from dataclasses import dataclass, field

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.sections.stain import PatchColours
from napari_cmrcnet.sections.totals import TARGET_SUM, TargetSum, target_from
from napari_cmrcnet.slides.patches import PatchSpec

MOST_SMOOTHING = 100

# Mean and standard deviation of ImageNet's RGB in 0–1, as published with torchvision and timm.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
IMAGENET = PatchColours(IMAGENET_MEAN, IMAGENET_STD)


@dataclass(frozen=True)
class Preprocessing:
    """What happens to counts and pixels before the model sees them.

    Parameters
    ----------
    target_sum : float or "median"
        Total of a spot's counts after normalisation, as the model reads genes; "median" is the median total of each
        section's spots. Values of the bank, and with them predictions, are always of `TARGET_SUM`.
    log : bool
        Whether log(1 + x) follows; only True is known to this version.
    patch : PatchSpec
        Size and pixel size of the patches.
    mean, std : tuple of 3 float
        Of R, G, B in 0–1; pixels are shifted and scaled by them.
    colour_normalisation : bool
        Shift and scale the pixels of each section by its own `patch_colours` instead.

    Raises
    ------
    UserError
        If it cannot be done.
    """

    target_sum: TargetSum = TARGET_SUM
    log: bool = True
    patch: PatchSpec = field(default_factory=PatchSpec)
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    colour_normalisation: bool = False

    def __post_init__(self) -> None:
        target_from(self.target_sum)
        if not self.log:
            raise UserError("With log: false expression is not log-normalised, and no other is known.")
        if min(self.std) <= 0:
            raise UserError(f"The std is {list(self.std)}; give numbers above 0.")


@dataclass(frozen=True)
class Query:
    """What the bank is asked with, and what is made of its answer. The defaults are the published way.

    Parameters
    ----------
    test_time_augmentation : bool
        Average the embedding of a patch over its eight flips and turns, which takes eight times as long to encode.
    neighbourhood_smoothing : float
        Weight of the mean embedding of the spots around a spot, its own weighing 1.
    k : int
        Neighbours behind a value; all spots of a smaller bank.
    weighted : bool
        Weigh each neighbour by the probability that CLIP's loss gives it among them: the softmax of the similarities
        over the temperature of the training. Else all count alike.

    Raises
    ------
    UserError
        If a number is out of range.
    """

    test_time_augmentation: bool = False
    neighbourhood_smoothing: float = 0.0
    k: int = 50
    weighted: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.neighbourhood_smoothing <= MOST_SMOOTHING:
            weight = f"{self.neighbourhood_smoothing:g}"
            raise UserError(f"Neighbourhood smoothing is {weight}; give a weight from 0 to {MOST_SMOOTHING}.")
        if self.k < 1:
            raise UserError(f"k is {self.k}; give at least 1 training spot behind a value, such as 50.")


def average_in_words(k: int, weighted: bool) -> str:
    """Say what a predicted value is."""
    return f"{'weighted mean' if weighted else 'mean'} of the {k} most similar training spots"
