"""Import OpenVINO and NNCF without the messages they send home about being imported."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

from unetkit.errors import InputError

# Both report their use to a web service through this package, from a thread, as soon as they are
# imported; and both do without it where it is not installed.
_REPORTER = "openvino_telemetry"


def import_openvino() -> Any:
    """Import `openvino`; nothing is sent.

    Raises:
        InputError: it is not installed.
    """
    with _unreported():
        return _import("openvino", "the OpenVINO engine")


def import_nncf() -> Any:
    """Import `nncf`; nothing is sent, and it says only what went wrong.

    Raises:
        InputError: it is not installed.
    """
    import_openvino()
    with _unreported():
        nncf = _import("nncf", "calibration to int8")
    with suppress(AttributeError):  # in another version the log has another name
        nncf.set_log_level(logging.ERROR)
    return nncf


def _import(name: str, user: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != name:
            raise
        cure = "pip install 'unetkit[fast]'"
        raise InputError(f"{user} needs {name}", cure=cure) from None


@contextmanager
def _unreported() -> Iterator[None]:
    """Let the reporter seem not to be installed."""
    if _REPORTER in sys.modules:  # then someone else imported it, and it is theirs
        known = {name: sys.modules[name] for name in sys.modules if _is_reporter(name)}
    else:
        known = {}
    for name in known:
        del sys.modules[name]
    sys.modules[_REPORTER] = None  # type: ignore[assignment]  # makes its import fail
    try:
        yield
    finally:
        del sys.modules[_REPORTER]
        sys.modules.update(known)


def _is_reporter(name: str) -> bool:
    return name.partition(".")[0] == _REPORTER
