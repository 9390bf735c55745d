"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[Path, typer.Argument(help="A run folder or a .safetensors file.")]
Data = Annotated[Path, typer.Argument(help="A folder of images and masks.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Engine = Annotated[str, typer.Option(help="auto (the fastest), torch, openvino or onnx.")]
Precision = Annotated[str, typer.Option(help="auto, fp32 (exact), bf16 or int8.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
