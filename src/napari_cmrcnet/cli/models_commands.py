"""The commands about models: which can be had, and how."""

import argparse
from dataclasses import asdict
from pathlib import Path

from napari_cmrcnet.cli.console import say, show_json, show_progress, show_table
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.text import count_text


def models(options: argparse.Namespace) -> None:
    """List, build, pack or add models."""
    {"build": build, "pack": pack, "add": add, None: list_models}[options.action](options)


def list_models(_: argparse.Namespace) -> None:
    """List the user's models, the recipes that others can be built by, and the encoders that one can stand on."""
    from napari_cmrcnet.catalogue.recipe import model_recipes
    from napari_cmrcnet.catalogue.user_models import models_folder, user_models
    from napari_cmrcnet.model.frozen_encoders import frozen_encoders

    recipes, own = model_recipes(), user_models()
    rows = [(key, recipe.tissue, recipe.size, recipe.licence) for key, recipe in recipes.items()]
    if own:
        show_table(f"Your models, in {models_folder()}", ("name",), [(name,) for name in own])
    show_table("Models that can be built from public data", ("name", "tissue", "data", "licence"), rows)
    for key, recipe in recipes.items():
        say(f"{key}: {recipe.title}, {recipe.platform}; {recipe.source}, {recipe.page}")
        say(f"  Access: {recipe.access}. Checksums: {recipe.checksums}.")
        for note in recipe.notes:
            say(f"  {note}")
    encoders = frozen_encoders()
    shown = [(name, one.trained_on, one.licence, "login" if one.gated else "") for name, one in encoders.items()]
    show_table("Encoders for train --encoder", ("name", "trained on", "licence", "gate"), shown)
    show_json({
        "models": own,
        "recipes": {key: asdict(recipe) for key, recipe in recipes.items()},
        "encoders": {name: asdict(one) for name, one in encoders.items()},
    })  # fmt: skip


def build(options: argparse.Namespace) -> None:
    """Build a model by a recipe."""
    from napari_cmrcnet.catalogue.build import build as build_model
    from napari_cmrcnet.catalogue.build import building_folder, to_download
    from napari_cmrcnet.catalogue.recipe import find_model_recipe
    from napari_cmrcnet.catalogue.user_models import place_of
    from napari_cmrcnet.evaluation.document import cell

    recipe = find_model_recipe(options.name)
    out: Path = options.out or place_of(recipe.key)
    say(show_progress(to_download(recipe, out)) or f"{recipe.title}: all data are already downloaded.")
    checkpoint, left_out = show_progress(build_model(recipe, out, options.device))
    rows = [(name, *map(cell, pcc.values())) for name, pcc in left_out.sections.items()]
    if rows:
        show_table("Mean PCC of sections that the model had not seen", ("section", *left_out.mean), rows)
    say(left_out.words)
    bank = checkpoint.bank
    say(f"{out}: {count_text(len(bank), 'bank spot')}, {count_text(len(bank.genes), 'gene')}")
    folder = building_folder(out)
    say(f"{folder} holds the data. You can delete it.")
    show_json({"checkpoint": out, "left_out": asdict(left_out), "folder": folder})


def pack(options: argparse.Namespace) -> None:
    """Write a model as one file."""
    from napari_cmrcnet.catalogue.index import offer
    from napari_cmrcnet.catalogue.packing import pack as pack_model
    from napari_cmrcnet.catalogue.user_models import find_model
    from napari_cmrcnet.retrieval.card import read_card

    checkpoint = find_model(options.checkpoint)
    checksum = show_progress(pack_model(checkpoint, options.out, not options.no_thumbnails))
    say(f"{options.out}: SHA-256 {checksum}")
    for terms in read_card(checkpoint)[0].terms:
        say(terms)
    if options.index is not None:
        one = offer(options.index, options.out, checksum, options.licence, options.about)
        say(f"{options.index} offers it as {one.name}")
    show_json({"file": options.out, "sha256": checksum})


def add(options: argparse.Namespace) -> None:
    """Add a model to the user's folder."""
    from napari_cmrcnet.catalogue.index import add_model, is_index, read_index

    if is_index(options.place):
        offered = read_index(options.place)
        if options.name not in offered:
            show_table(f"Models of {options.place}", ("name", "about", "licence"), [
                (one.name, one.about, one.licence) for one in offered.values()
            ])  # fmt: skip
            if options.name:
                raise UserError(f"{options.place} offers no {options.name}; give one of its names with --name.")
            say("Add one with --name NAME.")
            return
        one = offered[options.name]
        path = show_progress(add_model(one.address, one.name, one.sha256, one.size))
    else:
        path = show_progress(add_model(options.place, options.name, options.sha256))
    name = path.name.removesuffix(".cmrcnet")
    say(f"{path}: use it with predict --checkpoint {name}, or choose {name} in the Predict panel.")
    show_json({"checkpoint": path})
