"""The commands about models: which can be had, and how."""

import argparse
from dataclasses import asdict

from napari_cmrcnet.cli.console import say, show_json, show_table


def models(options: argparse.Namespace) -> None:
    """List the recipes."""
    list_models(options)


def list_models(_: argparse.Namespace) -> None:
    """List the recipes that models can be built by."""
    from napari_cmrcnet.catalogue.recipe import model_recipes

    recipes = model_recipes()
    rows = [(key, recipe.tissue, recipe.size, recipe.licence) for key, recipe in recipes.items()]
    show_table("Models that can be built from public data", ("name", "tissue", "data", "licence"), rows)
    for key, recipe in recipes.items():
        say(f"{key}: {recipe.title}, {recipe.platform}; {recipe.source}, {recipe.page}")
        say(f"  Access: {recipe.access}. Checksums: {recipe.checksums}.")
        for note in recipe.notes:
            say(f"  {note}")
    show_json({"recipes": {key: asdict(recipe) for key, recipe in recipes.items()}})
