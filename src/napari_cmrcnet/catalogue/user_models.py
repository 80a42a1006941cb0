"""The user's own folder of models: what was built or added, offered by name."""

import os
from pathlib import Path

import platformdirs

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import is_there

ENDING = ".cmrcnet"
CARD = "card.json"


def models_folder() -> Path:
    """Return the folder of the user's models.

    ``CMRCNET_MODELS`` names another place than the system's own folder for data of programs.
    """
    data = platformdirs.user_data_dir("napari-cmrcnet", appauthor=False)
    return Path(os.environ.get("CMRCNET_MODELS") or Path(data) / "models")


def user_models() -> dict[str, Path]:
    """Return the models in the user's folder, by name."""
    folder = models_folder()
    if not folder.is_dir():
        return {}
    found = (path for path in sorted(folder.glob(f"*{ENDING}")) if (path / CARD).is_file())
    return {path.name.removesuffix(ENDING): path for path in found if not path.name.startswith(".")}


def find_model(path: Path) -> Path:
    """Return a path, or the user's model of that name where there is nothing at it."""
    if is_there(path) or path.name != str(path):
        return path
    return user_models().get(path.name.removesuffix(ENDING), path)


def place_of(name: str) -> Path:
    """Return where a model of a name lies in the user's folder, there or not.

    Raises
    ------
    UserError
        If no file can have that name.
    """
    from napari_cmrcnet.sections.sheet import can_name_a_file  # which brings pandas: a panel must not wait for it

    name = name.removesuffix(ENDING)
    if not name or not can_name_a_file(name):
        raise UserError(f"The name {name[:50]!a} cannot name a file; use letters, digits, - and _.")
    return models_folder() / f"{name}{ENDING}"
