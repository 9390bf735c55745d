"""Atomic writes: a reader sees the old file or the new one, never half of one."""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unetkit.errors import InputError


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it takes the place of `path` in one step.

    The temporary name keeps the suffix of `path`, because writers of images choose the format by
    it. Whatever goes wrong, the temporary file is removed and an older `path` stays as it was.

    Raises:
        InputError: the disk is full, or the folder may not be written.
    """
    path = Path(path)
    # The end of the name will do, because a name of full length leaves no room for more.
    temporary = path.with_name(f".{os.getpid()}-{threading.get_ident()}.{path.name[-40:]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # some writers make files that only the owner may read
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise _explain(error.errno, path) from error
    except Exception as error:
        code = re.search(r"\(os error (\d+)\)", str(error))
        if code is None:  # else it is safetensors that passes on what the system said
            raise
        raise _explain(int(code[1]), path) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, atomically; bytes of a file's name that are no letters are escaped."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content`, atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _explain(code: int | None, path: Path) -> InputError:
    match code:
        case errno.ENOSPC | errno.EDQUOT:
            return InputError("the disk is full", where=path, cure="free some space and run again")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return InputError("may not be written", where=path, cure="choose another folder")
        case errno.ENOTDIR | errno.EEXIST:
            what = "a file stands where a folder is needed"
            return InputError(what, where=path.parent, cure="choose another folder")
        case errno.ENAMETOOLONG:
            return InputError("the name is too long for this disk", where=path, cure="shorten it")
        case _:
            reason = os.strerror(code) if code else "unknown reason"
            return InputError(
                f"cannot be written ({reason})", where=path, cure="choose another folder"
            )
