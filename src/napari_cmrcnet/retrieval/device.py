"""Where a model runs and in which precision: the one place that decides it, for training too."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from napari_cmrcnet.common.errors import UserError

Precision = Literal["auto", "fp32", "bf16", "fp16"]

_CPU_BF16 = ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16", "sve_bf16")


def choose_device(name: str = "auto") -> torch.device:
    """Return a device that is there.

    Parameters
    ----------
    name : str
        ``"auto"`` (CUDA, else MPS, else CPU), ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.

    Raises
    ------
    UserError
        If there is no such device.
    """
    if name == "auto":
        cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
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
        return device
    if device.type == "mps" and torch.backends.mps.is_available():
        return device
    raise UserError(f"The device {name!r} is not available here; choose cpu or auto.", setting="device")


def choose_precision(device: torch.device, precision: str = "auto") -> str:
    """Return the precision in which a forward pass runs: ``"fp32"``, ``"bf16"``, ``"fp16"`` or ``"int8"``.

    Parameters
    ----------
    device : torch.device
        Where it runs.
    precision : {"auto", "fp32", "bf16", "fp16", "int8"}
        ``"auto"`` as in `autocast`. int8 is for prediction on a CPU.

    Raises
    ------
    UserError
        As `autocast`, or if the device cannot run in int8.
    """
    if precision != "int8":
        return {None: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[_dtype(device, precision)]
    if device.type != "cpu":
        raise UserError(f"int8 is for the CPU only; choose the precision auto for {device}.")
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        raise UserError("int8 needs oneDNN, which this build of torch lacks; choose the precision fp32.")
    return "int8"


def autocast(device: torch.device, precision: str = "auto") -> AbstractContextManager[object]:
    """Return the context in which a model's forward pass runs.

    Parameters
    ----------
    device : torch.device
        Where it runs.
    precision : {"auto", "fp32", "bf16", "fp16"}
        ``"auto"`` is bf16 on a CUDA device whose hardware has it, else fp32.

    Raises
    ------
    UserError
        If the precision is unknown, or the hardware lacks it and would be many times slower than in fp32.
    """
    dtype = _dtype(device, precision)
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def _dtype(device: torch.device, precision: str) -> torch.dtype | None:
    match precision:
        case "fp32":
            return None
        case "auto":
            return torch.bfloat16 if device.type == "cuda" and _has_bf16(device) else None
        case "bf16":
            if not _has_bf16(device):
                on_cpu = ", and emulating it takes 8 times as long as fp32" if device.type == "cpu" else ""
                raise UserError(f"This {device.type} has no hardware for bf16{on_cpu}; choose the precision fp32.")
            return torch.bfloat16
        case "fp16":
            if device.type == "cpu":
                raise UserError("The CPU has no use for fp16; choose the precision fp32.")
            return torch.float16
    raise UserError(f"There is no precision {precision!r}; choose auto, fp32, bf16 or fp16.")


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(name, False) for name in _CPU_BF16)
    return False


def to_device(array: NDArray[np.generic], device: torch.device) -> torch.Tensor:
    """Copy an array to a device; to CUDA through pinned memory, without waiting for the copy."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def release_memory(device: torch.device) -> None:
    """Give cached memory back to the device, after it ran out."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
