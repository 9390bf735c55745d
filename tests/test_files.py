"""Writing is atomic: the old file or the new one, whatever goes wrong."""

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from unetkit.errors import InputError
from unetkit.files import atomic, write_bytes, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_it_writes_utf_8_and_makes_folders(tmp_path):
    write_text(tmp_path / "a" / "b" / "naïve σ.txt", "σ = 5\n")
    write_bytes(tmp_path / "a" / "b" / "raw", b"\x00\xff")
    assert (tmp_path / "a" / "b" / "naïve σ.txt").read_bytes() == "σ = 5\n".encode()
    assert (tmp_path / "a" / "b" / "raw").read_bytes() == b"\x00\xff"
    assert names(tmp_path / "a" / "b") == ["naïve σ.txt", "raw"]


def test_the_temporary_file_is_hidden_beside_the_file_and_of_its_suffix(tmp_path):
    with atomic(tmp_path / "a.nii.gz") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".")
        assert temporary.name.endswith(".nii.gz")
        temporary.write_bytes(b"new")
        assert not (tmp_path / "a.nii.gz").exists()
    assert names(tmp_path) == ["a.nii.gz"]


@pytest.mark.parametrize("error", [RuntimeError("mine"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    write_text(tmp_path / "a", "old")

    def fail():
        with atomic(tmp_path / "a") as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_are_those_the_user_asked_for(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        with atomic(tmp_path / "a") as temporary:
            temporary.write_text("x")
            temporary.chmod(0o600)  # as safetensors does
    finally:
        assert os.umask(before) == mask  # asking for the umask has not changed it
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


def test_a_link_s_target_stays_as_it_was(tmp_path):
    write_text(tmp_path / "target", "old")
    (tmp_path / "link").symlink_to("target")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "target").read_text() == "old"
    assert (tmp_path / "link").read_text() == "new"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_named_and_the_old_file_survives(tmp_path):
    write_text(tmp_path / "a", "old")
    # Every write to /dev/full fails as on a full disk, so the temporary file is made a link to it.
    (tmp_path / f".{os.getpid()}-{threading.get_ident()}.a").symlink_to("/dev/full")
    with pytest.raises(InputError, match="a: the disk is full; free some space"):
        write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize(("error", "said"), [
    (OSError(errno.ENOSPC, "x"), "the disk is full; free some space"),
    (OSError(errno.EDQUOT, "x"), "the disk is full; free some space"),
    (OSError(errno.EACCES, "x"), "may not be written; choose another folder"),
    (OSError(errno.EROFS, "x"), "may not be written; choose another folder"),
    (OSError(errno.ENAMETOOLONG, "x"), "the name is too long"),
    (OSError(errno.EIO, "x"), r"cannot be written \(Input/output error\)"),
    (OSError("no number"), r"cannot be written \(unknown reason\)"),
    (RuntimeError("I/O error: No space left on device (os error 28)"), "the disk is full"),
])  # fmt: skip
def test_every_refusal_of_the_system_is_one_line(tmp_path, error, said):
    with pytest.raises(InputError, match=f"{tmp_path / 'a'}: {said}"), atomic(tmp_path / "a"):
        raise error
    assert not names(tmp_path)


def test_a_file_where_a_folder_is_needed(tmp_path):
    write_text(tmp_path / "file", "x")
    with pytest.raises(InputError, match=r"file: a file stands where a folder is needed; choose"):
        write_text(tmp_path / "file" / "a", "x")
    with pytest.raises(InputError, match="cannot be written"):
        write_text(tmp_path, "a folder stands where the file should")
    assert (tmp_path / "file").read_text() == "x"


def test_a_folder_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user may write everywhere")
        with pytest.raises(InputError, match="may not be written; choose another folder"):
            write_text(tmp_path / "a", "x")
    finally:
        tmp_path.chmod(0o700)


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
from unetkit.files import write_bytes
write_bytes(sys.argv[1], b"n" * 20_000)
"""


def test_a_real_limit_of_the_system_leaves_the_old_file(tmp_path):
    write_bytes(tmp_path / "a", b"old")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path / "a"], capture_output=True, text=True
    )
    assert "InputError" in done.stderr
    assert "cannot be written (File too large)" in done.stderr
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]
