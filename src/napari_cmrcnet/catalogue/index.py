"""An index of models: a small JSON file by which a laboratory offers its own.

``{"cmrcnet_index": 1, "models": [{"name", "address", "sha256", "size", "licence", "about"}]}``; an address may be
relative to the index.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import urljoin, urlsplit

from napari_cmrcnet.catalogue.fetch import read_small
from napari_cmrcnet.catalogue.packing import ENDING, unpack_model
from napari_cmrcnet.catalogue.user_models import models_folder, place_of
from napari_cmrcnet.common.errors import UserError, first_sentence, readable
from napari_cmrcnet.common.files import sha256, write_json
from napari_cmrcnet.common.json_entries import read_entries
from napari_cmrcnet.common.progress import Job, Progress, of_bytes
from napari_cmrcnet.common.public_files import PublicFile, check_room, go_on_with_file, sizes_of
from napari_cmrcnet.common.text import parse_json

LARGEST_INDEX = 4 * 2**20


@dataclass(frozen=True)
class OfferedModel:
    """A model that an index offers.

    Parameters
    ----------
    name : str
        That it gets in the user's folder.
    address : str
        Of its file; may be relative to the index.
    sha256 : str
        Of that file.
    size : int
        Its bytes.
    licence, about : str
        For people; may be empty.
    """

    name: str
    address: str
    sha256: str
    size: int
    licence: str
    about: str

    def __post_init__(self) -> None:
        place_of(self.name)  # refuses what cannot name a file
        if len(self.sha256) != 64 or not set(self.sha256) <= set("0123456789abcdef") or self.size <= 0:
            raise UserError(f"The entry of {self.name} has no SHA-256 or no size.")


@dataclass(frozen=True)
class _Index:
    """What an index holds; the number is of its format."""

    cmrcnet_index: Literal[1]
    models: tuple[OfferedModel, ...]


def is_address(text: str) -> bool:
    """Whether a text is the address of a site."""
    return urlsplit(text).scheme in ("http", "https")


def is_index(text: str) -> bool:
    """Whether a path or address is that of an index."""
    return urlsplit(text).path.casefold().endswith(".json")


def read_index(place: str) -> dict[str, OfferedModel]:
    """Return the models that an index offers, by name, their addresses whole.

    Parameters
    ----------
    place : str
        A path or an address.

    Raises
    ------
    UserError
        If it cannot be reached or read, or is no index.
    """
    return {one.name: replace(one, address=_whole(place, one.address)) for one in _listed(place)}


def _listed(place: str) -> tuple[OfferedModel, ...]:
    """Return the models that an index offers, as they stand in it."""
    if is_address(place):
        content = read_small("The index of models", place, LARGEST_INDEX)
    else:
        path = Path(place)
        with readable(path, "cannot be read", errors=(OSError,)):
            if path.stat().st_size > LARGEST_INDEX:
                raise UserError(f"{path} is too large to be an index of models.")
            content = path.read_bytes()
    try:
        return read_entries(_Index, parse_json(content)).models
    except (ValueError, UserError) as error:
        raise UserError(f"{place} is not an index of models: {first_sentence(error).removesuffix('.')}.") from error


def _whole(place: str, address: str) -> str:
    """Return an address that may be relative to its index; an index of a site names nothing on this computer."""
    whole = urljoin(place, address) if is_address(place) else address
    if is_address(place) and not is_address(whole):
        raise UserError(f"{place} offers {address[:80]!a}, which is not the address of a site; do not use it.")
    return whole if is_address(whole) else str(Path(place).parent / whole)


def offer(index: Path, file: Path, checksum: str, licence: str, about: str) -> OfferedModel:
    """Add a packed model to an index beside it, or replace its entry; the index is made where there is none.

    Raises
    ------
    UserError
        If what is there is no index, or the file does not lie beside or below it.
    """
    models = {one.name: one for one in _listed(str(index))} if index.exists() else {}
    try:
        address = file.resolve().relative_to(index.resolve().parent).as_posix()
    except ValueError as error:
        raise UserError(f"{file} is not beside the index {index}; put both into one folder.") from error
    name = _named_as(file.name)
    one = OfferedModel(name, address, checksum, file.stat().st_size, licence, about)
    write_json(index, asdict(_Index(1, tuple((models | {name: one}).values()))))
    return one


def add_model(place: str, name: str = "", checksum: str = "", size: int | None = None) -> Job[Path]:
    """Add a packed model to the user's folder, from this computer or a site; return where it lies.

    Stopped while it receives, the next call goes on where it was.

    Parameters
    ----------
    place : str
        Path or address of the file, as `pack` wrote it.
    name : str
        For it; by default that of the file.
    checksum : str
        SHA-256 of the file, ``""`` where nobody published one: the files in it are verified all the same.
    size : int, optional
        Its bytes, where they are known; of a file of a site.

    Raises
    ------
    UserError
        If there is no such file, the site cannot be reached, the checksum differs, or no file can have the name; or as
        `unpack_model`.
    """
    checksum = checksum.casefold()
    if is_address(place):
        return (yield from _add_from_site(place, name, checksum, size))
    file = Path(place)
    yield Progress(f"Checking {file.name}", 0, 0)
    if file.is_dir():
        raise UserError(f"{file} is a folder, not a packed model; pack it first (models pack).")
    if not file.is_file():
        raise UserError(
            f"{file} does not exist; give a packed model, or the address of one, which begins with https://."
        )
    if checksum and sha256(file) != checksum:
        raise UserError(f"{file} is not the file that was published (its checksum differs); get it again.")
    return (yield from unpack_model(file, place_of(name or _named_as(file.name))))


def _named_as(file: str) -> str:
    return file.removesuffix(ENDING).removesuffix(".zip")


def _add_from_site(address: str, name: str, checksum: str, size: int | None) -> Job[Path]:
    title = Path(urlsplit(address).path).name or "the model"
    out = place_of(name or _named_as(title))
    if out.exists():
        raise UserError(f"{out.name} is there already; remove it ({out}), or give another --name.")
    file = PublicFile(f"{out.name}.zip", (address,), checksum, size=size)
    total = (yield from sizes_of(title, [file]))[file]
    check_room(title, 2 * total, models_folder())
    received = models_folder() / f".{out.name}{file.sha256[:8]}.received"  # stays until it is unpacked
    if not (received.is_file() and received.stat().st_size == total):
        for done in go_on_with_file(title, file, received, total):
            yield of_bytes(f"Downloading {title}", done, total)
    try:
        model = yield from unpack_model(received, out)
    except UserError:
        received.unlink()
        raise
    received.unlink()
    return model
