"""The folder beside a checkpoint in which its training lives: what was begun, where it stands, its log."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.files import write_json
from napari_cmrcnet.common.text import parse_json
from napari_cmrcnet.retrieval.card import THUMBNAILS
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.training.config import FitConfig
from napari_cmrcnet.training.loop import STATE

RUN, LAST = "run.json", "last.cmrcnet"
Description = dict[str, Any]


def describe(
    sections: Sequence[Section], config: FitConfig, patch_keys: Sequence[str], genes: Sequence[str]
) -> Description:
    """Return all that decides the result of a training: settings, and the content of the sections."""
    return {
        "settings": config.to_dict(),
        "genes": list(genes),
        "sections": {
            section.name: {"patient": section.patient, "patches": key, "counts": _digest(section.spots.X)}
            for section, key in zip(sections, patch_keys, strict=True)
        },
    }


def _digest(counts: Any) -> str:
    counts = sparse.csr_matrix(counts)
    digest = hashlib.sha256(str(counts.shape).encode())
    for array, kind in ((counts.indptr, "<i8"), (counts.indices, "<i8"), (counts.data, "<f8")):
        digest.update(np.ascontiguousarray(array, dtype=kind).data)
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class RunFolder:
    """``NAME.training`` beside ``NAME.cmrcnet``.

    While training it holds ``run.json`` (what was begun) and ``state.pt``; with ``log.csv``, which stays when the
    checkpoint stands, and ``last.cmrcnet`` where the checkpoint has the weights of an earlier epoch.
    """

    out: Path

    @property
    def path(self) -> Path:
        """The folder."""
        return self.out.with_name(self.out.name.removesuffix(".cmrcnet") + ".training")

    def refuse_to_overwrite(self, resume: bool) -> None:
        """Protect a finished checkpoint and an unfinished training, each hours of work.

        Raises
        ------
        UserError
            If there is one and it is not to be resumed.
        """
        if resume and self.out.exists() and not (self.path / RUN).exists():
            raise UserError(f"{self.out} exists and was not trained here; choose another name for --out.")
        if resume:
            return
        if self.out.exists():
            raise UserError(f"{self.out} exists; remove it or choose another name for --out.")
        if (self.path / STATE).exists():
            raise UserError(
                f"{self.path} holds an unfinished training; continue with --resume, or remove it to train again."
            )

    def begin(self, description: Description, resume: bool) -> None:
        """Write down what is begun, or check that what is resumed is the same.

        Raises
        ------
        UserError
            If it is not, with what differs.
        """
        if resume and (self.path / RUN).exists():
            if found := differences(_begun(self.path / RUN), description):
                raise UserError(
                    f"{self.path} was started with other input ({'; '.join(found)}); resume with the same input, "
                    "or remove it to train again."
                )
            return
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / STATE).unlink(missing_ok=True)
        write_json(self.path / RUN, description)

    def tidy(self) -> None:
        """Remove what only an unfinished training needs."""
        (self.path / STATE).unlink(missing_ok=True)
        (self.path / THUMBNAILS).unlink(missing_ok=True)


def _begun(path: Path) -> dict[str, Any]:
    with readable(path, "is damaged", "remove its folder to train again"):
        begun: dict[str, Any] = parse_json(path.read_text("utf-8"))
        _ = begun["settings"], begun["sections"], begun["genes"]
    return begun


def differences(begun: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return, each in a few words, what differs between two descriptions."""
    found = [
        f"{name} was {_short(begun['settings'].get(name))}, now {_short(now['settings'].get(name))}"
        for name in sorted({*begun["settings"], *now["settings"]})
        if begun["settings"].get(name) != now["settings"].get(name)
    ]
    old, new = begun["sections"], now["sections"]
    found += [f"section {name} is missing" for name in old if name not in new]
    found += [f"section {name} is new" for name in new if name not in old]
    for name in (name for name in old if name in new):
        found += [f"section {name} has other {what}" for what in old[name] if old[name][what] != new[name].get(what)]
    if not found and list(old) != list(new):
        found.append("the sections are in another order")
    if not found and begun["genes"] != now["genes"]:
        found.append("other genes are highly variable, perhaps because scanpy has another version")
    return found


def _short(value: Any) -> str:
    return "not given" if value is None else json.dumps(value)
