"""Folders of ready predictors' weights, told from a checkpoint by their files; nothing here needs torch."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from napari_cmrcnet.common.errors import UserError


@dataclass(frozen=True)
class ReadyPredictor:
    """A predictor that its authors trained, run with weights that the user brings.

    Parameters
    ----------
    name : str
        For people.
    about : str
        What it predicts.
    files : tuple of str
        What tells its folder.
    packages : tuple of str
        What it needs beside this software, as pip calls it.
    """

    name: str
    about: str
    files: tuple[str, ...]
    packages: tuple[str, ...] = ()

    @property
    def advice(self) -> str:
        """How to get its packages."""
        return f"pip install {' '.join(self.packages)}"

    def check_installed(self) -> None:
        """Refuse to run without its packages.

        Raises
        ------
        UserError
            If one is not installed.
        """
        if missing := [name for name in self.packages if find_spec(name.replace("-", "_")) is None]:
            raise UserError(f"{self.name} needs {' and '.join(missing)}; install what is missing: {self.advice}.")


PATH2SPACE = ReadyPredictor("Path2Space", "breast tumours", ("genes.txt", "mlp_ensemble"))
STPATH = ReadyPredictor("STPath", "many organs", ("stfm.pth", "symbol2ensembl.json"), ("lazyslide-models", "einops"))
DEEPSPOT_M = ReadyPredictor(
    "DeepSpot-M", "many tumours", ("config.json", "model.safetensors", "tokens.csv"), ("deepspotm",)
)


def ready_in(folder: Path) -> ReadyPredictor | None:
    """Return the predictor whose weights a folder holds; None of any other, such as a checkpoint."""
    known = (PATH2SPACE, STPATH, DEEPSPOT_M)
    return next((one for one in known if all((folder / name).exists() for name in one.files)), None)
