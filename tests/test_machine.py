"""What this computer can do, and how the choice between devices and precisions is made."""

import json
import subprocess
import sys

import pytest
import torch

from unetkit import machine
from unetkit.errors import InputError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def has(monkeypatch, cuda, mps):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(("cuda", "mps", "chosen"), [
    (True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu"),
])  # fmt: skip
def test_the_best_device_that_is_there(monkeypatch, cuda, mps, chosen):
    has(monkeypatch, cuda, mps)
    assert machine.choose_device().type == chosen
    assert machine.choose_device("cpu") == CPU


def test_a_device_that_is_not_there_or_unknown(monkeypatch):
    has(monkeypatch, cuda=False, mps=False)
    with pytest.raises(InputError, match="no cuda device on this machine; use --device cpu"):
        machine.choose_device("cuda:1")
    with pytest.raises(InputError, match="unknown device tpu; use auto, cpu, cuda or mps"):
        machine.choose_device("tpu")
    has(monkeypatch, cuda=True, mps=False)
    assert machine.choose_device("cuda:1") == torch.device("cuda", 1)


@pytest.mark.parametrize(("flags", "bf16"), [
    ("fpu avx512f avx512_bf16 ssse3", True), ("fpu amx_bf16", True), ("fp asimd bf16", True),
    ("fpu avx2 avx512f avx512_bf16x", False), ("", False),
])  # fmt: skip
def test_bf16_only_where_the_processor_multiplies_it(monkeypatch, flags, bf16):
    monkeypatch.setattr(machine, "_processor_flags", lambda: set(flags.split()))
    assert machine.has_bf16() is bf16
    assert machine.choose_precision(CPU) == (torch.bfloat16 if bf16 else torch.float32)
    assert machine.choose_precision(CPU, "fp32") == torch.float32
    assert machine.choose_precision(CPU, "bf16") == torch.bfloat16
    assert machine.choose_precision(torch.device("mps")) == torch.float32


def test_on_a_gpu_torch_is_asked(monkeypatch):
    for there, kind in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda there=there: there)
        assert machine.choose_precision(CUDA) == kind


def test_the_description_is_plain_and_complete():
    described = machine.describe(CPU)
    assert json.loads(json.dumps(described)) == described
    assert described["torch"] == torch.__version__
    assert described["device"] == "cpu"
    assert described["cores"] == machine.cores() >= 1
    assert 2**26 < machine.free_memory() <= (described["memory_gib"] + 1) * 2**30


MEMORY = """
import sys
from unetkit.machine import keep_memory
from pathlib import Path
import torch
def faults():
    return int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[7])
def cost():
    before = faults()
    for _ in range(20):
        torch.zeros(2**22).add_(1)
    return faults() - before
before = cost()
assert keep_memory()
cost()
assert cost() < before / 10, (before, cost())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_memory_is_kept_only_after_it_was_asked_for():
    """Page faults of a large tensor allocated again and again, before and after the call."""
    if machine.platform.libc_ver()[0] != "glibc":
        pytest.skip("another C library")
    subprocess.run([sys.executable, "-c", MEMORY], check=True, timeout=60)
