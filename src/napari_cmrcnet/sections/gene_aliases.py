"""Gene aliases: the names that pathologists have for genes, such as HER2 for ERBB2.

`gene_aliases.json` maps names of proteins, antibodies and CD antigens, and some previous symbols, to HGNC symbols of
human genes. It was written by hand for this project, of markers known from immunohistochemistry; no list or database
was copied. A name may mean several genes (CD3: CD3D, CD3E, CD3G), and may also be the symbol of another (MIB-1 is an
antibody to Ki67, MIB1 a gene), so aliases serve the search for a gene. Which gene a file means they decide only where a
name is spelled just so, means one gene, and neither file has the other's name.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from importlib.resources import files


def fold(names: str) -> str:
    """Return letters and digits of a name in upper case, Greek letters by their names: IFN-γ is IFNGAMMA.

    Of several names, one a line, the lines stay: it is many times faster than one by one.
    """
    plain = names if names.isascii() else "".join(map(_spelled, unicodedata.normalize("NFKC", names)))
    return re.sub(r"[^A-Z0-9\n]+", "", plain.upper())


def _spelled(letter: str) -> str:
    if letter.isascii():
        return letter
    name = unicodedata.name(letter, "")  # GREEK SMALL LETTER GAMMA
    return name.rpartition(" ")[2].replace("LAMDA", "LAMBDA") if name.startswith("GREEK") else letter


@cache
def _table() -> dict[str, tuple[str, tuple[str, ...]]]:
    content = json.loads(files(__package__).joinpath("gene_aliases.json").read_text("utf-8"))
    return {fold(name): (name, tuple(symbols)) for name, symbols in content.items()}


def symbols_of(name: str) -> tuple[str, ...]:
    """Return the symbols that an alias means, whatever its case, hyphens and spaces; none if it is not one."""
    return _table().get(fold(name), ("", ()))[1]


@lru_cache(maxsize=2**16)  # sections have the same genes
def symbol_of(alias: str) -> str:
    """Return the one symbol that an alias means, spelled just so; ``""`` for any other name."""
    name, symbols = _table().get(fold(alias), ("", ()))
    return symbols[0] if name == alias and len(symbols) == 1 and symbols[0] != alias else ""


def aliases_from(start: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the aliases that begin so, each with its symbols; the one that is just so comes first."""
    folded = fold(start)
    if folded in _table():
        yield _table()[folded]
    for key, entry in _table().items():
        if key.startswith(folded) and key != folded:
            yield entry


@cache
def aliases_by_symbol() -> Mapping[str, tuple[str, ...]]:
    """Return the aliases of each symbol that has some."""
    found: dict[str, list[str]] = {}
    for name, symbols in _table().values():
        for symbol in symbols:
            found.setdefault(symbol, []).append(name)
    return {symbol: tuple(names) for symbol, names in found.items()}
