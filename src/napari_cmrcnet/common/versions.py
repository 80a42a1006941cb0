"""The versions of the packages that a result depends on."""

from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("napari-cmrcnet", "torch", "timm", "numpy", "scipy", "anndata", "scanpy")


def package_versions() -> dict[str, str]:
    """Return the installed versions of what a result depends on."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
