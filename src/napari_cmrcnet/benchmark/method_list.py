"""The methods of a benchmark: CMRCNet, what it is compared with, and its ablation."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from napari_cmrcnet.benchmark.method_names import BLEEP, CMRCNET, FROZEN, METHOD_NAMES, METHODS, TUNED
from napari_cmrcnet.benchmark.methods.external import External, tables_in
from napari_cmrcnet.benchmark.methods.method import Method
from napari_cmrcnet.benchmark.paper import paper_ablation
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import file_digest
from napari_cmrcnet.model.config import ModelConfig
from napari_cmrcnet.model.frozen_encoders import encoder_named
from napari_cmrcnet.sections.sheet import can_name_a_file


@dataclass(frozen=True)
class Choice:
    """A method of a benchmark, as settings from which any process makes it.

    Parameters
    ----------
    name : str
        Of its files; of the command line's methods, or a row of the ablation.
    method : str
        A key of `METHODS`, or ``"external"``.
    settings : mapping
        In place of the method's own.
    weights : Path, optional
        Of the method's image encoder.
    """

    name: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    weights: Path | None = None

    @property
    def digest(self) -> str | None:
        """SHA-256 of the weights, or of another tool's tables."""
        if self.method == EXTERNAL:
            each = [file_digest(path) for path in tables_in(Path(self.settings["folder"]))]
            return hashlib.sha256("".join(each).encode()).hexdigest()
        return None if self.weights is None else file_digest(self.weights)

    def make(self) -> Method:
        """Return the method."""
        if self.method == EXTERNAL:
            return External(title=self.name, **self.settings)
        return METHODS[self.method](**self.settings)


@dataclass(frozen=True)
class AblationRow:
    """A row and column of the paper's Table 5: the method's name, a title, its settings, and the paper's values."""

    name: str
    title: str
    model: Mapping[str, Any]
    published: Mapping[str, Any]


def _ablation_row(row: Mapping[str, Any]) -> AblationRow:
    """Read a row of the paper, whose "spatial transcription" is the expression's embedding."""
    loss, mask, target = row["loss"], row["mask"], row["target"]
    if mask is None:
        return AblationRow("cmrcnet-contrastive", "contrastive loss alone", {"reconstruction": False}, row)
    model = {"reconstruction_loss": loss, "mask_rate": mask, "target": target}
    title = f"{loss.replace('mse', 'MSE')}, mask {mask:g}, {target.replace('expression', 'spatial transcription')}"
    if all(getattr(ModelConfig, setting) == value for setting, value in model.items()):
        return AblationRow(CMRCNET, title, {}, row)
    return AblationRow(f"cmrcnet-{loss}-{target}-mask-{mask:g}", title, model, row)


ABLATION = tuple(map(_ablation_row, paper_ablation()))
"""Table 5, in its order. The method itself is the row of its defaults: MSE, half masked, the image's embedding."""

_AS_CMRCNET = {CMRCNET: ("preset", "variant", "ks", "model"), TUNED: ("preset", "model"), BLEEP: ("ks",)}
"""Which of CMRCNet's settings a method takes over."""

ON_ENCODERS = (FROZEN, "frozen", BLEEP, "stnet", "stnet-adam", "eggn")
"""Methods that can stand on a frozen encoder: ``METHOD@ENCODER``."""
AT = "@"
EXTERNAL = "external"


def choose(
    names: Sequence[str],
    cmrcnet: Mapping[str, Any],
    *,
    ablation: bool = False,
    weights: Mapping[str, Path] | None = None,
    external: Mapping[str, Path] | None = None,
) -> tuple[Choice, ...]:
    """Return the methods of a benchmark.

    Parameters
    ----------
    names : sequence of str
        Of `METHOD_NAMES`, each on a frozen encoder where it says so; none: all that can be run with the weights that
        are given.
    cmrcnet : mapping
        Settings of `CMRCNetMethod`.
    ablation : bool
        Add the rows of Table 5.
    weights : mapping of str to Path, optional
        Local weights of encoders by method; ``""``: of every method that cannot do without.
    external : mapping of str to Path, optional
        By the name of another tool the folder of what it predicted; these come last.

    Raises
    ------
    UserError
        If a name is unknown or repeated, a file does not exist, a method needs weights and there are none, or has no
        use for those that are given or is not among the methods.
    """
    weights = weights or {}
    for name in (*names, *filter(None, weights)):
        _check_known(name)
    if repeated := sorted({name for name in names if list(names).count(name) > 1}):
        raise UserError(f"The method {repeated[0]} is there twice; name it once.")
    if missing := [path for path in weights.values() if not path.is_file()]:
        raise UserError(f"{missing[0]} does not exist; check the path to the encoder's weights.")
    for name in filter(None, weights):
        if _choice(name, cmrcnet).make().encoder_weights == "none":
            raise UserError(f"The method {name} has no encoder that takes weights; leave their file out.")
        if name not in (names or METHOD_NAMES) and not (ablation and name == CMRCNET):
            raise UserError(f"The method {name} is not compared; add it to --methods, or leave its weights out.")
    choices = []
    for name in names or METHOD_NAMES:
        choice = replace(_choice(name, cmrcnet), weights=weights.get(name))
        if choice.weights is None and choice.make().encoder_weights == "needed":
            if "" not in weights and names:
                raise UserError(f"The method {name} needs weights of its encoder; give their file or leave it out.")
            if "" not in weights:
                continue
            choice = replace(choice, weights=weights[""])
        choices.append(choice)
    chosen = _with_ablation(choices, cmrcnet, weights.get(CMRCNET)) if ablation else choices
    return (*chosen, *(_external(name, folder) for name, folder in (external or {}).items()))


def _external(name: str, folder: Path) -> Choice:
    if name.partition(AT)[0] in METHOD_NAMES or not can_name_a_file(name):
        raise UserError(f"{name!a} cannot name another tool's tables; use another name of letters, digits, - and _.")
    if not tables_in(folder):
        raise UserError(f"{folder} has no table of predicted values; give the folder with one for each section.")
    return Choice(name, EXTERNAL, {"folder": str(folder.resolve())})


def _check_known(name: str) -> None:
    method, at, encoder = name.partition(AT)
    if method not in METHOD_NAMES:
        raise UserError(f"There is no method {method!r}; choose among {', '.join(METHOD_NAMES)}.")
    if at and method not in ON_ENCODERS:
        raise UserError(f"The method {method} takes no frozen encoder; these do: {', '.join(ON_ENCODERS)}.")
    if at:
        encoder_named(encoder)


def _choice(name: str, cmrcnet: Mapping[str, Any]) -> Choice:
    """Return a method, or a method on a frozen encoder, without weights."""
    method, _, encoder = name.partition(AT)
    settings = {"frozen_encoder": encoder} if encoder else {}
    shared = {setting: cmrcnet[setting] for setting in _AS_CMRCNET.get(method, ()) if setting in cmrcnet}
    return Choice(name, method, shared | settings)


def _with_ablation(choices: Sequence[Choice], cmrcnet: Mapping[str, Any], weights: Path | None) -> list[Choice]:
    """Add CMRCNet as it is and, with the first k alone, with the settings of the other rows of Table 5."""
    there = {choice.name for choice in choices}
    itself = [] if CMRCNET in there else [Choice(CMRCNET, CMRCNET, cmrcnet, weights)]
    first, model = tuple(cmrcnet["ks"][:1]), cmrcnet.get("model", {})
    added = [
        Choice(row.name, CMRCNET, {**cmrcnet, "ks": first, "model": {**model, **row.model}}, weights)
        for row in ABLATION
        if row.name != CMRCNET
    ]
    return [*itself, *choices, *added]
