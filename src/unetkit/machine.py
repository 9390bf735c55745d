"""What this computer can do: device, cores, memory, precision, and how to treat its allocator."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unetkit.errors import InputError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import torch

Precision = Literal["auto", "fp32", "bf16"]

# PyTorch takes over a second to import, so only the functions that need it do.

_MMAP_MAX, _TRIM_THRESHOLD, _TOP_PAD = -4, -1, -2  # mallopt's parameters in glibc's malloc.h


def choose_device(name: str = "auto") -> torch.device:
    """Give the device of that name, or the best one there is for "auto".

    Raises:
        InputError: unknown, or not there.
    """
    import torch

    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, found in there.items() if found)
    kind = name.partition(":")[0]
    if kind not in there:
        raise InputError(f"unknown device {name}", cure="use auto, cpu, cuda or mps")
    if not there[kind]:
        raise InputError(f"no {kind} device on this machine", cure="use --device cpu")
    return torch.device(name)


def choose_precision(device: torch.device, precision: Precision = "auto") -> torch.dtype:
    """Give the number type to compute in: bf16 where the hardware multiplies it, else fp32.

    On a CPU without AVX512-BF16 or AMX, bf16 is emulated and slower than fp32.
    """
    import torch

    if precision == "fp32":
        return torch.float32
    if precision == "bf16":
        return torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if device.type == "cpu" and has_bf16() else torch.float32


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[Any]:
    """Compute in `precision` where it is not fp32 already."""
    import torch

    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, precision)


def may_have_gpu() -> bool:
    """Tell, without importing PyTorch, whether asking it for a GPU could be worth the second.

    False only where no driver is to be seen; where it cannot be told, True.
    """
    if sys.platform == "linux":  # the NVIDIA driver, AMD's, and Windows' for its Linux
        return any(Path(p).exists() for p in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg"))
    if sys.platform == "win32":
        return Path(r"C:\Windows\System32\nvcuda.dll").exists()
    return True


def has_bf16() -> bool:
    """Tell whether this processor multiplies bf16 numbers in hardware."""
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & _processor_flags())


def keep_memory() -> bool:
    """Ask glibc to keep freed blocks instead of giving them back to the system.

    A large activation then costs no page faults each time it is allocated: a training step took
    690 → 492 ms and memory rose by 15 % where it was measured. It changes the whole process, so
    only entry points call it, and only where the recipe allows it. Returns whether it was applied.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return all(
        libc.mallopt(parameter, value) == 1
        for parameter, value in (
            (_MMAP_MAX, 0),
            (_TRIM_THRESHOLD, 2**31 - 1),
            (_TOP_PAD, 64 * 2**20),
        )
    )


def release_memory() -> None:
    """Ask glibc to give freed memory back, which it cannot always use for blocks of other sizes."""
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def free_memory() -> int:
    """Bytes of main memory that a program could take now; 8 GiB where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 8 * 2**30


def resident_memory() -> int:
    """Bytes of main memory that this process holds now; 512 MiB where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 2**29


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe(device: torch.device | None = None) -> dict[str, str | int | bool]:
    """Describe machine and software, to stand beside every result."""
    import torch

    device = device or choose_device()
    return {
        "unetkit": version("unetkit"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor_name(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(_total_memory() / 2**30),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "bf16": has_bf16(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _processor_lines(key: str) -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return next(
        (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith(key)), ""
    )


def _processor_flags() -> set[str]:
    return set((_processor_lines("flags") or _processor_lines("Features")).split())


def _processor_name() -> str:
    return _processor_lines("model name") or platform.processor() or platform.machine()


def _total_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
