"""Recipes: which models can be built from public data, and what is known of the data."""

import json
import re

import pytest

from napari_cmrcnet.catalogue.recipe import entries, find_model_recipe, model_recipes
from napari_cmrcnet.cli import main
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.sections.sheet import LONGEST_NAME


def test_her2st_has_eight_patients_and_36_sections() -> None:
    recipe = find_model_recipe("HER2ST")
    assert len(recipe.patients) == 36
    assert recipe.known_patients == 8
    assert recipe.size == "36 sections, 8 patients"
    assert recipe.licence == "CC BY 4.0"
    assert next(iter(model_recipes())) == "her2st"  # open data first


def test_every_recipe_says_all_that_the_list_shows() -> None:
    for key, recipe in model_recipes().items():
        for said in (recipe.title, recipe.tissue, recipe.platform, recipe.source, recipe.licence, recipe.access):
            assert said, key
        assert recipe.page.startswith("https://")
        assert recipe.layout in ("her2st", "10x", "hest")
        assert all(name and len(name) < LONGEST_NAME for name in recipe.patients)
        assert set(entries()[key]["files"]) == set(recipe.patients) if recipe.layout == "10x" else True


def test_tissues_that_the_open_sections_are_of() -> None:
    keys = {key for key, recipe in model_recipes().items() if recipe.layout == "10x"}
    assert keys == {f"visium_{name}" for name in ("breast", "colon", "prostate", "ovary", "lymph_node", "brain")}


def test_checksums_are_whole_and_missing_ones_are_said() -> None:
    for recipe in model_recipes().values():
        missing = []
        for name in recipe.patients if recipe.layout == "10x" else ():
            about = recipe.places["files"][name]
            assert all(place.startswith("https://") and place.endswith(f"{name}_") for place in about["places"])
            for file, checksum in about["sha256"].items():
                assert re.fullmatch("[0-9a-f]{64}|", checksum)
                missing += [] if checksum else [f"{file} of {name}"]
        if missing:
            assert all(one in recipe.checksums for one in missing) or "no checksum is published" in recipe.checksums


def test_an_unknown_recipe_is_answered_with_those_there_are() -> None:
    with pytest.raises(UserError, match=r"no recipe 'heart'; choose one of her2st, visium_brain, .*, read"):
        find_model_recipe("heart")


def test_the_command_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    said = capsys.readouterr().out
    assert "│ visium_lymph_node │" in said
    assert "HER2-positive breast cancer (her2st)" in said
    assert "Access: open. Checksums: no checksum is published." in said
    assert main(["models", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["recipes"]) == 13
