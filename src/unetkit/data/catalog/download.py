"""One file from its home: continued where the connection broke, and kept only if it is the one."""

from __future__ import annotations

import base64
import errno
import json
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from unetkit.data.catalog.entry import File
from unetkit.errors import InputError

if TYPE_CHECKING:
    import requests

# Seconds to wait before each further attempt; a file that has grown meanwhile gets all of them
# again, so that a long download outlives any number of broken connections.
WAITS = (1.0, 2.0, 4.0, 8.0)
PATIENCE = (20.0, 60.0)  # seconds until a connection stands, and without an answer on it
_CHUNK = 2**18
_LATER = {408, 425, 429, 500, 502, 503, 504}

Moved = Callable[[int, int], None]  # bytes of this file that are here, and that it has (or 0)


class _BrokenError(Exception):
    """The connection broke, or the server asks to come again later."""


def download(
    file: File,
    target: Path,
    session: requests.Session,
    *,
    url: str,
    moved: Moved,
    cure: str,
    changed: str,
) -> None:
    """Fetch a file through pooch, which keeps it only if it has its checksum.

    Args:
        file: what is fetched; a file that is already there is checked and kept.
        target: where to; beside it lies `NAME.part` while it is on its way.
        session: the connection.
        url: its address, that of the file or of a mirror.
        moved: takes the progress.
        cure: what to do where the home does not give it.
        changed: what to do where it is another file than we know.

    Raises:
        InputError: it cannot be had, or is not what it should be.
    """
    import pooch

    def fetch(_: str, output: str, __: Any) -> None:
        part = target.with_name(target.name + ".part")
        _continue(file, url, part, session, moved, cure)
        part.replace(output)
        _note(part).unlink(missing_ok=True)

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(url, file.checksum, target.name, target.parent, downloader=fetch)
    except InputError:
        raise
    except ValueError as error:
        got = re.search(r"but got (?:\w+:)?(\w+)", str(error))
        raise InputError(
            f"{file.name} from {file.host} is not the file we know (its checksum is "
            f"{got[1] if got else 'another'}, not {str(file.checksum).partition(':')[2]})",
            where=url,
            cure=f"it was not kept: run again; {changed}",
        ) from error
    except OSError as error:
        raise _disk(error, target) from error
    finally:
        logger.setLevel(level)


def checksum(path: Path) -> str:
    """Give "sha256:…" of a file."""
    import pooch

    return f"sha256:{pooch.file_hash(str(path), alg='sha256')}"


def _continue(
    file: File, url: str, part: Path, session: requests.Session, moved: Moved, cure: str
) -> None:
    """Fetch a file, or the rest of it, in as many attempts as are sensible."""
    import requests
    import urllib3

    waits = iter(WAITS)
    host, before = urlsplit(url).hostname, _length(part)
    while True:
        try:
            return _stream(file, url, part, session, moved, cure)
        except (_BrokenError, requests.RequestException, urllib3.exceptions.HTTPError) as error:
            if _length(part) > before:
                waits, before = iter(WAITS), _length(part)
            wait = next(waits, None)
            if wait is None:
                what = f"{host} {_reason(error)}"
                raise InputError(what, where=url, cure=f"try again later, or {cure}") from error
            time.sleep(wait)


def _stream(
    file: File, url: str, part: Path, session: requests.Session, moved: Moved, cure: str
) -> None:
    """Ask once, for what is missing, and write what comes."""
    known = _remembered(part)
    have = _length(part) if known else 0
    headers = {"Accept-Encoding": "identity", "User-Agent": f"unetkit/{version('unetkit')}"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if known["validator"]:
            headers["If-Range"] = known["validator"]
    with session.get(url, headers=headers, stream=True, timeout=PATIENCE) as response:
        code, total = response.status_code, _number(response.headers.get("Content-Length"))
        where = re.fullmatch(
            r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", "")
        )
        if code == 206 and have and where and _number(where[1]) == have:
            total = _number(where[2])
            if known["total"] and total != known["total"]:
                _forget(part)
                raise _BrokenError("has changed the file meanwhile")
        elif code == 416 and have and where and _number(where[2]) == have:
            return  # all of it was here already
        elif code in (206, 416):
            _forget(part)
            raise _BrokenError("sent another part than was asked for")
        elif code in _LATER:
            raise _BrokenError(f"answers {code} {response.reason}")
        elif code != 200:
            what = f"{urlsplit(url).hostname} answers {code} {response.reason}".strip()
            raise InputError(what, where=url, cure=cure)
        else:  # the whole file, whatever was asked for
            have = 0
            if "text/html" in response.headers.get("Content-Type", "") and "htm" not in file.name:
                what = f"{urlsplit(url).hostname} answers with a web page instead of {file.name}"
                raise InputError(what, where=url, cure=cure)
            _remember(part, response, total)
        missing = total - have if total else 0
        if missing > (free := shutil.disk_usage(part.parent).free):
            raise InputError(
                f"{file.name} needs {missing / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
                where=part.parent,
                cure="free some space, or keep downloads elsewhere (--cache)",
            )
        try:
            with part.open("ab" if have else "wb") as out:
                # The bytes as they are on the server, also where it says that they are packed.
                for chunk in response.raw.stream(_CHUNK, decode_content=False):
                    out.write(chunk)
                    have += len(chunk)
                    moved(have, total)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise _disk(error, part) from error
            raise _BrokenError("broke the connection") from error
        if total and have != total:
            if have > total:
                _forget(part)
            raise _BrokenError("broke the connection")
        _agree(part, response)


def _agree(part: Path, response: requests.Response) -> None:
    """Compare with the checksum that Google's storage sends along."""
    import pooch

    sent = re.search(r"md5=([\w+/]+={0,2})", response.headers.get("x-goog-hash", ""))
    if sent:
        stated = base64.b64decode(sent[1]).hex()
        if pooch.file_hash(str(part), alg="md5") != stated:
            _forget(part)
            raise _BrokenError("sent bytes that differ from the checksum it states")


# ------------------------------------------------------------------ what is known of a half file


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _remember(part: Path, response: requests.Response, total: int) -> None:
    """Note of which version of the file a part is, so that no other is joined to it."""
    tag = response.headers.get("ETag", "")
    strong = "" if tag.startswith("W/") else tag
    validator = strong or response.headers.get("Last-Modified", "")
    part.unlink(missing_ok=True)
    _note(part).write_text(json.dumps({"validator": validator, "total": total}), encoding="utf-8")


def _remembered(part: Path) -> dict[str, Any]:
    try:
        content = json.loads(_note(part).read_text(encoding="utf-8"))
        return {"validator": str(content["validator"]), "total": int(content["total"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0


def _length(part: Path) -> int:
    with suppress(OSError):
        return part.stat().st_size
    return 0


# ------------------------------------------------------------------------------------- messages


def _reason(error: Exception) -> str:
    """Say in a few words why a server could not be reached."""
    import requests

    text = f"{type(error).__name__} {error}"
    if isinstance(error, _BrokenError):
        return str(error)
    if isinstance(error, requests.exceptions.ProxyError):
        return "cannot be reached (the proxy does not answer)"
    if isinstance(error, requests.exceptions.SSLError):
        return "cannot be reached (its certificate is not trusted)"
    if "NameResolution" in text or "getaddrinfo" in text or "Name or service" in text:
        return "cannot be reached (its name is not known: is there a network?)"
    if "refused" in text:
        return "cannot be reached (it refuses the connection)"
    if "Timeout" in text or "timed out" in text:
        return "does not answer in time"
    return "broke the connection" if "Protocol" in text else "cannot be reached"


def _disk(error: OSError, target: Path) -> InputError:
    what = f"cannot be written ({error.strerror or error})"
    return InputError(what, where=target, cure="free some space, or keep downloads elsewhere")
