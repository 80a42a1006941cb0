"""What a release says of where the project lies: run by .github/workflows/release.yml before it builds.

A package index shows README.md far from the files beside it, so each link and picture becomes an address; and the
project's own addresses go into pyproject.toml. In the repository both stay as they are: a fork has another address.
"""

import re
import sys
from pathlib import Path

README, PYPROJECT = Path("README.md"), Path("pyproject.toml")


def set_address(repository: str, tag: str) -> None:
    """Write the address of a repository on GitHub, and a tag of it, into README.md and pyproject.toml."""
    files = f"{repository}/blob/{tag}"
    text = re.sub(r"(!\[[^]]*\])\((?!https?:)", rf"\1({repository}/raw/{tag}/", README.read_text("utf-8"))
    README.write_text(re.sub(r"\]\((?!https?:|#)", f"]({files}/", text), "utf-8")
    addresses = {
        "Source": repository,
        "Documentation": f"{files}/docs/index.md",
        "Changelog": f"{files}/CHANGELOG.md",
        "Issues": f"{repository}/issues",
    }
    table = "".join(f'{name} = "{address}"\n' for name, address in addresses.items())
    rest, *_ = PYPROJECT.read_text("utf-8").partition("\n[project.urls]\n")  # a source archive has one already
    PYPROJECT.write_text(f"{rest}\n[project.urls]\n{table}", "utf-8")


if __name__ == "__main__":
    set_address(*sys.argv[1:])
