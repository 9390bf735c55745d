"""The commands that apply a trained model, or hand it on to other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from unetkit.cli.options import Device, Engine, Model, Precision
from unetkit.cli.places import cache_folder
from unetkit.cli.printing import err, out, progress_bar, say
from unetkit.errors import InputError


def predict(
    model: Model,
    inputs: Annotated[list[str], typer.Argument(help="Images, folders or glob patterns.")],
    output: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results.")],
    save: Annotated[
        str, typer.Option(help="Any of: labels, probability, uncertainty, overlay.")
    ] = "labels",
    tile: Annotated[int | None, typer.Option(help="Size of the network's input.")] = None,
    tta: Annotated[bool | None, typer.Option(help="Average over mirror images.")] = None,
    views: Annotated[
        str | None, typer.Option(help="Average over none, flips, rotations or paper (7 angles).")
    ] = None,
    ensemble: Annotated[
        list[Path] | None, typer.Option("--with", help="Another model to average with; repeat.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Of the foreground.")] = None,
    max_memory: Annotated[
        float | None, typer.Option(help="GB that may be held; default: half of what is free.")
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="Of results: tif, zarr, nii.gz, png ...")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep results, and go on with what was begun.")
    ] = False,
    scheduler: Annotated[
        str | None, typer.Option(help="Of a Dask cluster, such as tcp://host:8786.")
    ] = None,
    calibrate: Annotated[
        Path | None, typer.Option(help="Data for int8; default: that of the training.")
    ] = None,
    device: Device = "auto",
    engine: Engine = "auto",
    precision: Precision = "auto",
) -> None:
    """Segment images of any size; results keep the images' names."""
    from unetkit.application import predict as apply
    from unetkit.machine import keep_memory
    from unetkit.segmenter import load

    if threshold is not None and not 0 < threshold < 1:
        raise InputError(f"threshold {threshold:g} is not between 0 and 1", where="--threshold")
    if max_memory is not None and max_memory <= 0:
        raise InputError(f"{max_memory:g} GB is nothing", where="--max-memory")
    segmenter = load(
        [model, *(ensemble or ())],
        device=device,
        engine=engine,
        precision=precision,
        calibration=calibrate,
        cache=cache_folder(),
    )
    if max_memory is None:
        keep_memory()
    out.print(f"engine: {segmenter.engine}")
    with progress_bar("images") as bar:
        result = apply(
            segmenter,
            inputs,
            output,
            save=[part.strip() for part in save.split(",")],
            tile=tile,
            tta=tta if views is None else views,
            threshold=threshold,
            memory=max_memory,
            overwrite=overwrite,
            resume=resume,
            form=form,
            scheduler=scheduler,
            say=say,
            on_image=lambda done, total, _: bar(done, total),
        )
    out.print(f"{len(result.written)} files in {output}")
    for path, reason in result.failures:
        # One line, even where a name has a line break in it.
        err.print(f"[red]failed[/] {escape(str(InputError(reason, where=path)))}")
    if result.failures:
        raise typer.Exit(1)


def export(
    model: Model,
    to: Annotated[str, typer.Option(help="onnx or openvino.")],
    output: Annotated[Path, typer.Option("-o", "--out", help="The .onnx or .xml file.")],
    precision: Annotated[str, typer.Option(help="fp32, or int8 for openvino.")] = "fp32",
    calibrate: Annotated[
        Path | None, typer.Option(help="Data for int8; default: that of the training.")
    ] = None,
) -> None:
    """Write a model for another runtime, once it gives the same there."""
    from unetkit.export import export as write

    written = write(
        model, to, output, precision=precision, calibration=calibrate, cache=cache_folder()
    )
    out.print(f"model: {written.path}\n{escape(written.sentence)}")
