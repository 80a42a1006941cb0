"""Recipes: from what public data a model can be built, as data files."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.sections.panels import PANELS, Panel

Layout = Literal["her2st", "10x", "hest"]


@dataclass(frozen=True)
class ModelRecipe:
    """How a model is built from public data.

    Parameters
    ----------
    key : str
        On the command line, and of the model's file.
    title, tissue, platform : str
        For people.
    layout : {"her2st", "10x", "hest"}
        How the data are published, which says how they are fetched and read.
    source, page : str
        Who published the data, and where.
    licence, access : str
        Under what licence, and who may use the site.
    checksums : str
        Which checksums were published, in words.
    patients : mapping of str to str
        By section, its patient; ``""``: as the data say.
    panel : Panel or None
        Marker genes that predictions show first.
    spots : int or None
        Of all sections, where that is published.
    notes : tuple of str
        What a user must know.
    places : mapping of str to object
        Addresses and checksums, as the layout has them.
    """

    key: str
    title: str
    tissue: str
    platform: str
    layout: Layout
    source: str
    page: str
    licence: str
    access: str
    checksums: str
    patients: Mapping[str, str]
    panel: Panel | None
    spots: int | None
    notes: tuple[str, ...]
    places: Mapping[str, Any]

    @property
    def known_patients(self) -> int | None:
        """How many patients there are; None where the data alone say it."""
        return len(set(self.patients.values())) if all(self.patients.values()) else None

    @property
    def terms(self) -> str:
        """What the data are, and their licence, in a sentence."""
        return f"{self.title}: data of {self.source}, licence {self.licence}, by the recipe {self.key}."

    @property
    def size(self) -> str:
        """How large and of how many patients, in words."""
        sections, patients = count_text(len(self.patients), "section"), self.known_patients
        return sections if patients is None else f"{sections}, {count_text(patients, 'patient')}"


@cache
def entries() -> dict[str, dict[str, Any]]:
    """Return what the data files say, by key."""
    folder = files(__package__).joinpath("recipes")
    found = sorted((file for file in folder.iterdir() if file.name.endswith(".json")), key=lambda file: file.name)
    return {file.name.removesuffix(".json"): json.loads(file.read_text("utf-8")) for file in found}


def model_recipes() -> dict[str, ModelRecipe]:
    """Return all recipes, by key; those whose data are open to all first."""
    found = {key: recipe_from(key, entry) for key, entry in entries().items()}
    return dict(sorted(found.items(), key=lambda item: (item[1].access != "open", item[0])))


def recipe_from(key: str, entry: Mapping[str, Any]) -> ModelRecipe:
    """Return the recipe of an entry."""
    said = {field.name: entry.get(field.name) for field in fields(ModelRecipe)}
    panel = PANELS[entry["panel"]] if entry["panel"] else None
    places = {name: entry[name] for name in ("list", "files") if name in entry}
    return ModelRecipe(**said | {"key": key, "panel": panel, "notes": tuple(entry["notes"]), "places": places})


def find_model_recipe(name: str) -> ModelRecipe:
    """Return the recipe of a name, in any case.

    Raises
    ------
    UserError
        If there is none, with those that there are.
    """
    found = model_recipes()
    if recipe := found.get(as_key(name)):
        return recipe
    raise UserError(f"There is no recipe {name!a}; choose one of {', '.join(found)}.")


def as_key(name: str) -> str:
    """Return a name as keys are written."""
    return re.sub(r"[^a-z0-9]+", "_", name.casefold())
