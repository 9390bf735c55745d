"""A Dask cluster: how it is reached, and what is said when it is not."""

from __future__ import annotations

from typing import Any

from unetkit.errors import InputError


def connect(address: str) -> Any:
    """Give a `distributed.Client` of the scheduler at an address such as tcp://host:8786.

    Raises:
        InputError: `distributed` is not installed, or nobody answers.
    """
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "a Dask cluster needs the extra `dist`", cure="pip install 'unetkit[dist]'"
        ) from None
    try:
        return Client(address, timeout="10s", set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Dask scheduler answers ({error})",
            where=address,
            cure="start one with dask scheduler, and workers with dask worker --nthreads 1",
        ) from None
