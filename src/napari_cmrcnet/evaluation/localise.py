"""Where something is: a threshold on a gene or the score of a signature, and how that agrees with what is known."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.text import count_text

Bools = npt.NDArray[np.bool_]


def otsu(values: npt.ArrayLike) -> float:
    """Return the threshold that divides values into two groups most unlike: Otsu's, over all values, without bins.

    It has the largest variance between the groups (Otsu, IEEE Trans. Syst. Man Cybern. 9:62, 1979).

    Parameters
    ----------
    values : (n,)
        What is not finite is left out.

    Returns
    -------
    float
        Midway between the groups: values above it are of the upper one.

    Raises
    ------
    UserError
        If there are not two different values.
    """
    array = np.asarray(values, np.float64).ravel()
    ordered = np.sort(array[np.isfinite(array)])
    if ordered.size < 2 or ordered[0] == ordered[-1]:
        raise UserError("A threshold cannot be found: all spots have the same value. Choose another gene or panel.")
    below = np.arange(1, ordered.size)  # spots in the lower group
    sums = np.cumsum(ordered)[:-1]
    means = sums / below, (ordered.sum() - sums) / (ordered.size - below)
    between = below * (ordered.size - below) * (means[1] - means[0]) ** 2
    between[ordered[:-1] == ordered[1:]] = -1.0  # equal values are not divided
    best = int(np.argmax(between))
    return float((ordered[best] + ordered[best + 1]) / 2)


def example_threshold(values: npt.ArrayLike, example: npt.ArrayLike) -> float:
    """Return the threshold that tells the spots of an example from the others best.

    It has the largest share of the example above it less the share of the others (Youden's index, Cancer 3:32, 1950).
    The others may hold spots like the example: that lowers the index of every threshold alike, so that an outline of
    a part of the tumour is enough.

    Parameters
    ----------
    values : (n,)
        One value per spot; what is not finite is left out.
    example : bool (n,)
        Which spots are of the example.

    Returns
    -------
    float
        Midway between two values.

    Raises
    ------
    UserError
        If there are not both kinds of spots, or the values are not higher in the example.
    """
    array, inside = np.asarray(values, np.float64), np.asarray(example, bool)
    known = np.isfinite(array)
    order = np.argsort(array[known], kind="stable")
    ordered, inside = array[known][order], inside[known][order]
    if not 0 < inside.sum() < inside.size:
        raise UserError("An example needs spots inside and outside it; choose other classes or regions.")
    index = np.cumsum(~inside)[:-1] / (~inside).sum() - np.cumsum(inside)[:-1] / inside.sum()
    index[ordered[:-1] == ordered[1:]] = 0.0  # equal values are not divided
    best = int(np.argmax(index))
    if index[best] <= 0:
        raise UserError("The values are not higher in the example than elsewhere; choose another gene or panel.")
    return float((ordered[best] + ordered[best + 1]) / 2)


@dataclass(frozen=True)
class Agreement:
    """How the spots above a threshold agree with those that are known to be of a class.

    Parameters
    ----------
    n : int
        Spots that are compared.
    inside : int
        Those above the threshold.
    known : int
        Those of the class.
    both : int
        Those that are both.
    auc : float
        The probability that a spot of the class has a higher value than one that is not of it (area under the ROC
        curve); NaN where all or no spots are of the class. It does not depend on the threshold.
    """

    n: int
    inside: int
    known: int
    both: int
    auc: float

    @property
    def dice(self) -> float:
        """Twice the spots that are both, over those above the threshold and those of the class; NaN without either."""
        together = self.inside + self.known
        return 2 * self.both / together if together else float("nan")

    def in_words(self, known: str = "belong to the class") -> str:
        """Return both measures, with the numbers that they are of; ``known`` is what spots do that are of the class."""
        dice, auc = (f"{value:.2f}" if np.isfinite(value) else "undefined" for value in (self.dice, self.auc))
        return (
            f"Dice {dice}, AUC {auc}. Of {count_text(self.n, 'spot')} {self.known:,} {known}, {self.inside:,} are "
            f"above the threshold, and {self.both:,} are both."
        )


def high(name: str, kind: str) -> str:
    """Return the class of the outline of the spots at which a gene or score is above a threshold."""
    return f"{name} high, {kind}"


def agreement(values: npt.ArrayLike, threshold: float, known: npt.ArrayLike, counted: Bools | None = None) -> Agreement:
    """Compare values and a threshold with a class.

    Parameters
    ----------
    values : (n,)
        One value per spot; one that is not finite is left out.
    threshold : float
        Spots with a value above it are inside.
    known : bool (n,)
        Which spots are of the class.
    counted : bool (n,), optional
        The spots to compare; all if not given.
    """
    array, truth = np.asarray(values, np.float64), np.asarray(known, bool)
    use = np.isfinite(array) if counted is None else np.isfinite(array) & counted
    array, truth = array[use], truth[use]
    inside = array > threshold
    positive, negative = int(truth.sum()), int((~truth).sum())
    auc = float("nan")
    if positive and negative:
        ranks = pd.Series(array).rank().to_numpy()  # Mann and Whitney's U over the number of pairs; ties count half
        auc = float((ranks[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))
    return Agreement(len(array), int(inside.sum()), positive, int((inside & truth).sum()), auc)
