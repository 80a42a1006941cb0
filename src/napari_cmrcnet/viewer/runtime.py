"""What the process needs before heavy packages are imported beside a live OpenGL canvas."""

import os
import sys


def guard_triton() -> None:
    """Import triton so that it cannot clash with the LLVM of Mesa's OpenGL driver.

    torch and timm import triton, whose library binds to the older libLLVM that a Mesa canvas has loaded, and the
    process crashes (tensorflow/tensorflow#124205 and mcfletch/pyopengl#170 are of the same family). Loaded with
    RTLD_DEEPBIND it binds to its own symbols. Only Linux has Mesa, and only a process with a canvas is concerned.
    """
    if sys.platform != "linux" or "triton" in sys.modules or not _has_libllvm():
        return
    before = sys.getdlopenflags()
    sys.setdlopenflags(os.RTLD_NOW | os.RTLD_DEEPBIND)
    try:
        import triton  # noqa: F401
    except ImportError:  # torch for the CPU comes without it
        return
    finally:
        sys.setdlopenflags(before)


def _has_libllvm() -> bool:
    try:
        with open("/proc/self/maps") as maps:
            return any("libLLVM" in line for line in maps)
    except OSError:
        return False
