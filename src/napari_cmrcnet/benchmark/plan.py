"""Plan: what a benchmark compares, and how."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from napari_cmrcnet.benchmark.folds import Kind
from napari_cmrcnet.benchmark.method_list import Choice, choose
from napari_cmrcnet.benchmark.method_names import KS
from napari_cmrcnet.evaluation.set_scores import Definition
from napari_cmrcnet.slides.patches import PatchSpec
from napari_cmrcnet.training.config import Variant


@dataclass(frozen=True)
class Plan:
    """What is compared, and how.

    Parameters
    ----------
    methods : tuple of str
        Of `METHOD_NAMES`; none: all that can be run.
    folds : {"sample", "patient"}
        What is left out in turn.
    seeds : int
        How often each method is run, from seed 0.
    epochs : int, optional
        The same for every method that has some; else each method's own.
    preset, variant : str
        Of CMRCNet.
    ks : tuple of int
        Neighbours behind a value of CMRCNet: the first for Table 1 and the ablation, the others for wider gene sets.
    model : mapping
        Settings of CMRCNet in place of the preset's.
    patch : PatchSpec
        Patches, the same for every method.
    ablation : bool
        Run the rows of Table 5, too.
    device : str
        As `choose_device` takes it.
    weights : mapping of str to Path
        Local weights of encoders by method; ``""``: of every method that cannot do without.
    external : mapping of str to Path
        By the name of another tool a folder with a table of what it predicted for each section.
    sets : {"paper", "all"}
        Among which genes HEG and HVG are ranked: the training sections' highly variable ones, or all that are
        predicted. Only the report differs: the same runs give both.
    score_min_umi : int, optional
        Spots with fewer counts do not count in scores; see `scored_spots`.
    nan_as_zero : bool
        Count undefined PCC as 0, as published tables do.
    figures : bool
        Draw the paper's figures.
    """

    methods: tuple[str, ...] = ()
    folds: Kind = "sample"
    seeds: int = 1
    epochs: int | None = None
    preset: Literal["paper", "small", "tiny"] = "paper"
    variant: Variant = "paper"
    ks: tuple[int, ...] = KS
    model: Mapping[str, Any] = field(default_factory=dict)
    patch: PatchSpec = field(default_factory=PatchSpec)
    ablation: bool = False
    device: str = "auto"
    weights: Mapping[str, Path] = field(default_factory=dict)
    external: Mapping[str, Path] = field(default_factory=dict)
    sets: Definition = "paper"
    score_min_umi: int | None = None
    nan_as_zero: bool = False
    figures: bool = True

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """The methods, checked."""
        cmrcnet = {"preset": self.preset, "variant": self.variant, "ks": self.ks, "model": dict(self.model)}
        return choose(self.methods, cmrcnet, ablation=self.ablation, weights=self.weights, external=self.external)
