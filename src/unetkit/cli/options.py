"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from unetkit.errors import InputError

Model = Annotated[Path, typer.Argument(help="A run folder or a .safetensors file.")]
Data = Annotated[Path, typer.Argument(help="A folder of images and masks.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[str, typer.Option(help="auto, fp32 or bf16.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def check_precision(name: str) -> Any:
    """Give the precision back, if it is one.

    Raises:
        InputError: it is none.
    """
    known = ("auto", "fp32", "bf16")
    if name not in known:
        raise InputError(f"unknown precision {name}", where="--precision", cure=", ".join(known))
    return name
