"""Where a model runs and in which precision: the one place that decides it, for training too."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from napari_cmrcnet.common.errors import UserError, is_out_of_memory

logger = logging.getLogger(__name__)


_CPU_BF16 = ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16", "sve_bf16")


def choose_device(name: str = "auto") -> torch.device:
    """Return a device that is there.

    Parameters
    ----------
    name : str
        ``"auto"`` (CUDA, else MPS, else CPU), ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``. ``"auto"`` passes over
        a GPU that this build of torch cannot run on, with a warning in the log.

    Raises
    ------
    UserError
        If there is no such device, or this build of torch has no kernels for it.
    """
    if name == "auto":
        return _best_device()
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"There is no device {name!r}; choose auto, cpu, cuda, cuda:1 or mps.", "device") from None
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type == "cuda":
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if found == 0:
            raise UserError("There is no CUDA device that torch can use here; choose cpu or auto.", setting="device")
        if (device.index or 0) >= found:
            said = f"There is no {name}: {found} CUDA devices are here, counted from cuda:0."
            raise UserError(said, setting="device")
        if not _has_kernels(device.index or 0):
            raise UserError(f"{_no_kernels(device.index or 0)}; choose cpu, or install a torch built for it.", "device")
        return device
    if device.type == "mps" and not device.index and torch.backends.mps.is_available():
        return torch.device("mps")
    raise UserError(f"The device {name!r} is not available here; choose cpu or auto.", setting="device")


def _best_device() -> torch.device:
    if usable := cuda_devices():
        return torch.device("cuda" if usable[0] == 0 else f"cuda:{usable[0]}")
    _warn_of_unusable()
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def cuda_devices() -> list[int]:
    """Return the numbers of the CUDA devices that this build of torch can run on."""
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [number for number in range(found) if _has_kernels(number)]


@cache  # once is enough
def _warn_of_unusable() -> None:
    if torch.cuda.is_available():
        logger.warning("%s: the CPU is used.", _no_kernels(0))


def _no_kernels(number: int) -> str:
    major, minor = torch.cuda.get_device_capability(number)
    name = torch.cuda.get_device_name(number)
    return f"torch {torch.__version__} cannot run on {name} (cuda:{number}, compute capability {major}.{minor})"


def _has_kernels(number: int) -> bool:
    """Whether this build of torch has code for a CUDA device; what it was built for decides, not a trial."""
    built_for = torch.cuda.get_arch_list()
    if torch.version.cuda is None or not built_for:  # ROCm names its devices otherwise
        return True
    capability = torch.cuda.get_device_capability(number)
    return any(_runs(code, capability) for code in built_for)


def _runs(code: str, capability: tuple[int, int]) -> bool:
    """Whether code built for an architecture runs on a device of a compute capability.

    ``sm_86`` is machine code, for 8.6 and later of the same major version; ``compute_90`` is compiled when it is
    loaded, for 9.0 and all later. With an ``a`` behind the number it is for that capability alone, with an ``f``
    for its major version (CUDA C++ programming guide, "Compute capabilities").
    """
    kind, _, number = code.partition("_")
    built_for = divmod(int(number.rstrip("af")), 10)
    if number.endswith("a"):
        return built_for == capability
    if kind == "compute" and not number.endswith("f"):
        return built_for <= capability
    return built_for[0] == capability[0] and built_for[1] <= capability[1]


def choose_precision(device: torch.device, precision: str = "auto") -> str:
    """Return the precision in which a forward pass runs, ``"fp32"`` or ``"bf16"``.

    Parameters
    ----------
    device : torch.device
        Where it runs.
    precision : {"auto", "fp32", "bf16"}
        ``"auto"`` is bf16 on a CUDA device whose hardware has it, else fp32.

    Raises
    ------
    UserError
        If the precision is unknown, or the hardware lacks it and would be many times slower than in fp32.
    """
    match precision:
        case "auto":
            return "bf16" if device.type == "cuda" and _has_bf16(device) else "fp32"
        case "bf16" if not _has_bf16(device):
            on_cpu = ", and emulating it takes 8 times as long as fp32" if device.type == "cpu" else ""
            raise UserError(f"This {device.type} has no hardware for bf16{on_cpu}; choose the precision fp32.")
        case "fp32" | "bf16":
            return precision
    raise UserError(f"There is no precision {precision!r}; choose auto, fp32 or bf16.")


def autocast(device: torch.device, precision: str = "auto") -> AbstractContextManager[object]:
    """Return the context in which a model's forward pass runs, in the precision that `choose_precision` chooses."""
    in_bf16 = choose_precision(device, precision) == "bf16"
    return torch.autocast(device.type, dtype=torch.bfloat16) if in_bf16 else nullcontext()


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(name, False) for name in _CPU_BF16)
    return False


def to_device(values: NDArray[np.generic] | torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """Copy an array or a tensor to a device; to CUDA through pinned memory, without waiting for the copy.

    To MPS the copy is waited for. Otherwise it would read memory that may hold something else by the time it is made,
    and nothing would say so (pytorch issues 139550 and 189690).
    """
    device = torch.device(device)
    tensor = values if isinstance(values, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(values))
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)  # torch keeps pinned memory until the copy is made
    return tensor.to(device)


@contextmanager
def enough_memory(
    device: torch.device, what: str = "this", advice: str = "take smaller batches, or another device"
) -> Iterator[None]:
    """Say in one sentence that memory ran out.

    Parameters
    ----------
    device : torch.device
        Where the work runs.
    what : str
        What there was not enough memory for.
    advice : str
        What to do.

    Raises
    ------
    UserError
        In place of an error that `is_out_of_memory` knows.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        where = "this machine" if device.type == "cpu" else str(device)
        said = f"There is not enough memory on {where} for {what}; {advice}."
        raise UserError(said, setting="device") from error


def release_memory(device: torch.device) -> None:
    """Give cached memory back to the device, after it ran out."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
