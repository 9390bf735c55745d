"""PNG, JPEG, BMP, WebP, GIF and PNM: every kind that independent writers make, read back."""

from __future__ import annotations

import gzip
import io
import struct
import threading
import time
import zlib
from pathlib import Path

import imagecodecs
import nibabel
import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageOps

from unetkit.errors import InputError
from unetkit.image import list_images, open_image, read_image, read_labels, read_shape
from unetkit.image.guard import quiet


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def read(path: Path) -> np.ndarray:
    """Read a picture and check that its header tells the same, and that a part is a part."""
    image = read_image(path)
    y, x = image.data.shape[1:]
    window = (slice(y // 3, y), slice(0, x // 2 + 1))
    for indices in (False, True):
        with open_image(path, indices=indices) as opened:
            first = opened.read(window)
            whole = opened.read((slice(0, y), slice(0, x)))
            assert whole.shape == opened.shape
            assert whole.dtype == opened.dtype
            np.testing.assert_array_equal(first, whole[:, *window])
            first[...] = 0
            np.testing.assert_array_equal(opened.read(window), whole[:, *window])
            assert indices or opened.shape == image.data.shape
    assert read_shape(path) == image.data.shape
    assert image.data.flags.c_contiguous
    return image.data


# ----------------------------------------------------------------------------------------- PNG

PASSES = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
)  # fmt: skip


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def png(
    pixels: np.ndarray,
    kind: int,
    depth: int,
    interlaced: bool,
    extra: bytes = b"",
    late: bytes = b"",
) -> bytes:
    """Write a PNG by its specification, without filters."""
    y, x = pixels.shape[:2]

    def rows(part: np.ndarray) -> bytes:
        content = b""
        for row in part:
            if depth >= 8:
                content += b"\0" + row.astype(">u2" if depth == 16 else "u1").tobytes()
            else:
                bits = np.unpackbits(row.reshape(-1, 1).astype(np.uint8), axis=1)[:, 8 - depth :]
                content += b"\0" + np.packbits(bits.ravel()).tobytes()
        return content

    steps = PASSES if interlaced else ((0, 0, 1, 1),)
    parts = [pixels[row::down, column::right] for column, row, right, down in steps]
    packed = zlib.compress(b"".join(rows(part) for part in parts if part.size))
    header = struct.pack(">IIBBBBB", x, y, depth, kind, 0, 0, interlaced)
    half = len(packed) // 2
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", packed[:half])
        + chunk(b"IDAT", packed[half:]) + late + chunk(b"IEND", b"")
    )  # fmt: skip


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
@pytest.mark.parametrize("size", [(1, 1), (13, 11), (3, 40), (41, 2)])
def test_png_of_every_kind(
    tmp_path: Path,
    generator: np.random.Generator,
    kind: int,
    channels: int,
    depth: int,
    interlaced: bool,
    size: tuple[int, int],
) -> None:
    dtype = np.uint16 if depth == 16 else np.uint8
    pixels = generator.integers(0, 2**depth, (*size, channels)).astype(dtype)
    # A transparent colour and a profile that libpng thinks little of change nothing.
    extra = chunk(b"gAMA", struct.pack(">I", 100_000))
    extra += chunk(b"tRNS", b"\0\5" * channels) if kind in (0, 2) else b""
    extra += chunk(b"tEXt", b"Comment\0hello")
    path = tmp_path / "a.png"
    path.write_bytes(png(pixels, kind, depth, interlaced, extra, chunk(b"tEXt", b"End\0x")))
    kept = channels - (channels in (2, 4))
    data = read(path)
    np.testing.assert_array_equal(data, np.moveaxis(pixels[..., :kept], -1, 0))
    assert data.dtype == dtype


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_png_of_few_bits(
    tmp_path: Path, generator: np.random.Generator, depth: int, interlaced: bool
) -> None:
    pixels = generator.integers(0, 2**depth, (13, 19, 1), np.uint8)
    table = generator.integers(0, 256, (2**depth, 3), np.uint8)
    path = tmp_path / "a.png"
    path.write_bytes(png(pixels, 0, depth, interlaced))
    np.testing.assert_array_equal(read(path)[0], pixels[..., 0] * (255 // (2**depth - 1)))
    path.write_bytes(png(pixels, 3, depth, interlaced, chunk(b"PLTE", table.tobytes())))
    np.testing.assert_array_equal(read(path), np.moveaxis(table[pixels[..., 0]], -1, 0))
    np.testing.assert_array_equal(read_labels(path), pixels[..., 0])


def test_png_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # libpng thinks aloud about interlacing, profiles and chunks it does not know.
    pixels = np.zeros((9, 9, 3), np.uint16)
    extra = chunk(b"iCCP", b"x\0\0" + zlib.compress(b"no profile")) + chunk(b"oops", b"")
    for interlaced in (False, True):
        (tmp_path / "a.png").write_bytes(png(pixels, 2, 16, interlaced, extra))
        read(tmp_path / "a.png")
    assert capfd.readouterr() == ("", "")


def test_filters_of_png(tmp_path: Path, generator: np.random.Generator) -> None:
    """Pillow and libpng choose filters by the rows; the reference is Pillow's own decoder."""
    smooth = np.add.outer(np.arange(60) ** 2, np.arange(80) * 3)[..., None] // [9, 7, 5]
    smooth = (smooth + generator.integers(0, 5, (60, 80, 3))).astype(np.uint8)
    for name, picture in {"rgb": smooth, "grey": smooth[..., 0]}.items():
        Pillow.fromarray(picture).save(tmp_path / f"{name}.png", optimize=True)
        with Pillow.open(tmp_path / f"{name}.png") as reference:
            expected = np.asarray(reference)
        expected = np.moveaxis(expected, -1, 0) if expected.ndim == 3 else expected[None]
        np.testing.assert_array_equal(read(tmp_path / f"{name}.png"), expected)


def test_damaged_png(tmp_path: Path) -> None:
    pixels = np.zeros((9, 9, 1), np.uint8)
    good = png(pixels, 0, 8, True)
    short = png(pixels, 0, 8, False)
    cases = {
        "checksum": good[:20] + b"\7" + good[21:],
        "colour type 5": good[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 5, 0, 0, 0)),
        "no palette": png(pixels, 3, 8, False),
        "no PNG header": b"\x89PNX" + good[4:],
        "ends before its pixels": good[:8]
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 99, 9, 8, 0, 0, 0, 1))
        + good[33:],
        "cannot be read as png": short[:8]
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 99, 8, 0, 0, 0, 0))
        + short[33:],
        "has no pixels": good[:8]
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 9, 8, 0, 0, 0, 0))
        + good[33:],
    }
    for message, content in cases.items():
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_image(tmp_path / "a.png")
    frames = [Pillow.new("L", (4, 4), value) for value in (0, 90)]
    for suffix in ("png", "webp"):
        frames[0].save(tmp_path / f"b.{suffix}", save_all=True, append_images=frames[1:])
        with pytest.raises(InputError, match="holds 2 frames; save each frame"):
            read_shape(tmp_path / f"b.{suffix}")


# ------------------------------------------------------------------------------------- rotation


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_rotation_as_pillow_does_it(
    tmp_path: Path, generator: np.random.Generator, turn: int, suffix: str
) -> None:
    picture = Pillow.fromarray(generator.integers(0, 256, (24, 40, 3), np.uint8))
    options = {".webp": {"lossless": True}}.get(suffix, {})
    for order in ("<", ">"):
        exif = Pillow.Exif()
        exif.endian = order
        exif[0x010F] = "a camera"
        exif[0x0112] = turn
        path = tmp_path / f"a{suffix}"
        picture.save(path, exif=exif, **options)
        with Pillow.open(path) as stored:
            expected = np.moveaxis(np.asarray(ImageOps.exif_transpose(stored)), -1, 0)
        np.testing.assert_array_equal(read(path), expected)


def test_rotation_by_xmp(tmp_path: Path, generator: np.random.Generator) -> None:
    picture = Pillow.fromarray(generator.integers(0, 256, (24, 40, 3), np.uint8))
    for text in ('<x tiff:Orientation="6"/>', "<tiff:Orientation>6</tiff:Orientation>"):
        picture.save(tmp_path / "a.jpg", xmp=text.encode())
        with Pillow.open(tmp_path / "a.jpg") as stored:
            expected = np.asarray(ImageOps.exif_transpose(stored))
        assert expected.shape == (40, 24, 3)
        np.testing.assert_array_equal(read(tmp_path / "a.jpg"), np.moveaxis(expected, -1, 0))
    content = b"XML:com.adobe.xmp\0\0\0\0\0" + b'<x tiff:Orientation="6"/>'
    pixels = np.asarray(picture)
    (tmp_path / "a.png").write_bytes(png(pixels, 2, 8, False, chunk(b"iTXt", content)))
    np.testing.assert_array_equal(
        read(tmp_path / "a.png"), np.moveaxis(np.rot90(pixels, -1), -1, 0)
    )


def test_damaged_exif_is_no_rotation(tmp_path: Path, generator: np.random.Generator) -> None:
    picture = Pillow.fromarray(generator.integers(0, 256, (24, 40), np.uint8))
    for exif in (b"", b"II*\0\xff\xff\xff\x7f", b"MM\0*\0\0\0\x08\0\x09", b"II*\0\x08\0\0\0\1\0" +
                 struct.pack("<HHIHH", 0x112, 3, 1, 77, 0)):  # fmt: skip
        picture.save(tmp_path / "a.jpg", exif=b"Exif\0\0" + exif)
        assert read(tmp_path / "a.jpg").shape == (1, 24, 40)


# ---------------------------------------------------------------------------------------- JPEG


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}]
)
def test_jpeg_as_pillow_decodes_it(
    tmp_path: Path, generator: np.random.Generator, options: dict[str, object]
) -> None:
    smooth = np.add.outer(np.arange(61), np.arange(83))[..., None] + [0, 30, 60]
    colour = (smooth + generator.integers(0, 9, smooth.shape)).astype(np.uint8)
    for name, picture in {"rgb": colour, "grey": colour[..., 0]}.items():
        Pillow.fromarray(picture).save(tmp_path / f"{name}.jpg", **options)
        with Pillow.open(tmp_path / f"{name}.jpg") as reference:
            expected = np.asarray(reference)
        expected = np.moveaxis(expected, -1, 0) if expected.ndim == 3 else expected[None]
        np.testing.assert_array_equal(read(tmp_path / f"{name}.jpg"), expected)


def test_cmyk_of_adobe_and_of_others(tmp_path: Path) -> None:
    ink = Pillow.fromarray(np.full((16, 24, 4), [0, 255, 255, 40], np.uint8), "CMYK")
    expected = np.asarray(ink.convert("RGB"))[0, 0].astype(int)
    ink.save(tmp_path / "adobe.jpg", quality=100)
    assert np.abs(read(tmp_path / "adobe.jpg")[:, 8, 8] - expected).max() < 6
    # Without Adobe's mark, the numbers mean what they say: 0 is no ink.
    inverse = Pillow.fromarray(255 - np.asarray(ink), "CMYK")
    content = io.BytesIO()
    inverse.save(content, "JPEG", quality=100)
    marked = content.getvalue()
    place = marked.index(b"\xff\xee")
    length = int.from_bytes(marked[place + 2 : place + 4], "big")
    (tmp_path / "plain.jpg").write_bytes(marked[:place] + marked[place + 2 + length :])
    assert np.abs(read(tmp_path / "plain.jpg")[:, 8, 8] - expected).max() < 6


def test_deep_and_lossless_jpeg(tmp_path: Path, generator: np.random.Generator) -> None:
    deep = (np.add.outer(np.arange(40), np.arange(56)) * 40).astype(np.uint16)
    content = imagecodecs.jpeg8_encode(deep, level=100, bitspersample=12)
    (tmp_path / "a.jpg").write_bytes(content)
    assert np.abs(read(tmp_path / "a.jpg")[0].astype(int) - deep).max() <= 4
    grey = generator.integers(0, 256, (40, 56), np.uint8)
    (tmp_path / "b.jpg").write_bytes(imagecodecs.jpeg8_encode(grey, lossless=True))
    np.testing.assert_array_equal(read(tmp_path / "b.jpg")[0], grey)


def test_a_jpeg_without_its_end_is_refused(tmp_path: Path, generator: np.random.Generator) -> None:
    # libjpeg would show grey where nothing is; the end of a thumbnail within is not the end.
    picture = Pillow.fromarray(generator.integers(0, 256, (40, 56), np.uint8))
    thumbnail = io.BytesIO()
    picture.resize((8, 8)).save(thumbnail, "JPEG")
    picture.save(tmp_path / "a.jpg", exif=b"Exif\0\0" + thumbnail.getvalue())
    content = (tmp_path / "a.jpg").read_bytes()
    assert content.count(b"\xff\xd9") == 2
    read(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(content + bytes(1000))  # some cameras fill up
    read(tmp_path / "b.jpg")
    for cut in (2, 40, 500):
        (tmp_path / "c.jpg").write_bytes(content[:-cut])
        with pytest.raises(InputError, match=r"c\.jpg.*ends before its pixels do.*copy it again"):
            read_image(tmp_path / "c.jpg")


def test_a_jpeg_of_hundreds_of_scans_is_refused(tmp_path: Path) -> None:
    Pillow.new("L", (64, 64)).save(tmp_path / "a.jpg", progressive=True)
    content = (tmp_path / "a.jpg").read_bytes()
    start, end = content.rindex(b"\xff\xda"), content.rindex(b"\xff\xd9")
    for times, refused in ((20, False), (200, True)):
        (tmp_path / "b.jpg").write_bytes(
            content[:start] + content[start:end] * times + content[end:]
        )
        if refused:
            with pytest.raises(InputError, match="it comes in hundreds of scans"):
                read_image(tmp_path / "b.jpg")
        else:
            read_image(tmp_path / "b.jpg")


def test_damaged_jpeg(tmp_path: Path) -> None:
    Pillow.new("L", (40, 30)).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    frame = content.index(b"\xff\xc0")
    for message, bad in {
        "no size": content[: frame + 5] + b"\0\0" + content[frame + 7 :],
        "ends before": content[:frame],
        "no JPEG header": b"\0" + content[1:],
    }.items():
        (tmp_path / "b.jpg").write_bytes(bad)
        with pytest.raises(InputError, match=message):
            read_shape(tmp_path / "b.jpg")


# --------------------------------------------------------------------------- BMP, WebP and GIF


@pytest.mark.parametrize("suffix", [".bmp", ".webp", ".gif"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_other_pictures_as_pillow_shows_them(
    tmp_path: Path, generator: np.random.Generator, suffix: str, mode: str
) -> None:
    picture = Pillow.fromarray(generator.integers(0, 4, (20, 30), np.uint8), "P")
    picture.putpalette(generator.integers(0, 256, 12, np.uint8).tolist())
    if mode in ("1", "L"):
        picture = Pillow.fromarray(generator.integers(0, 2, (20, 30), np.uint8) * 255)
    if mode != "P":
        picture = picture.convert(mode)
    path = tmp_path / f"a{suffix}"
    picture.save(path, **({"lossless": True} if suffix == ".webp" else {}))
    data = read(path)
    expected = np.moveaxis(np.asarray(picture.convert("RGB")), -1, 0)
    np.testing.assert_array_equal(np.broadcast_to(data, (3, 20, 30)), expected)
    with Pillow.open(path) as reference:
        if reference.mode == "P" and len(data) == 3:
            np.testing.assert_array_equal(read_labels(path), np.asarray(reference))


def test_alpha_that_is_all_a_mask_has(tmp_path: Path, generator: np.random.Generator) -> None:
    alpha = generator.integers(0, 2, (20, 30), np.uint8) * 255
    red = np.full((20, 30, 4), [200, 10, 9, 0], np.uint8)
    red[..., 3] = alpha
    black = np.stack([alpha * 0, alpha], -1)
    Pillow.fromarray(red).save(tmp_path / "a.png")
    Pillow.fromarray(red).save(tmp_path / "a.webp", lossless=True, exact=True)
    Pillow.fromarray(black, "LA").save(tmp_path / "b.png")
    for name in ("a.png", "a.webp", "b.png"):
        np.testing.assert_array_equal(read_labels(tmp_path / name), alpha)
        np.testing.assert_array_equal(read_labels(tmp_path / name, colours=True) & 255, alpha)
        assert len(np.unique(read(tmp_path / name)[0])) == 1
    red[0, 0, :3] = 7  # now there are colours, which alpha only cuts out
    Pillow.fromarray(red).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"colours \(such as 200,10,9\)"):
        read_labels(tmp_path / "a.png")


# ----------------------------------------------------------------------------------------- PNM


@pytest.mark.parametrize("packed", [False, True])
def test_pnm_as_pillow_writes_and_reads_it(
    tmp_path: Path, generator: np.random.Generator, packed: bool
) -> None:
    pictures = {
        "a.pgm": generator.integers(0, 256, (13, 19), np.uint8),
        "b.ppm": generator.integers(0, 256, (13, 19, 3), np.uint8),
        "c.pbm": generator.random((13, 19)) > 0.5,
    }
    for name, pixels in pictures.items():
        path = tmp_path / name
        Pillow.fromarray(pixels).save(path)
        if packed:
            path = tmp_path / f"{name}.gz"
            path.write_bytes(gzip.compress((tmp_path / name).read_bytes()))
        with Pillow.open(tmp_path / name) as reference:
            expected = np.asarray(reference.convert("RGB" if pixels.ndim == 3 else "L"))
        expected = np.moveaxis(expected, -1, 0) if pixels.ndim == 3 else expected[None]
        np.testing.assert_array_equal(read(path), expected)


def test_deep_and_plain_pnm(tmp_path: Path, generator: np.random.Generator) -> None:
    deep = generator.integers(0, 4096, (5, 4, 3), np.uint16)
    path = tmp_path / "a.ppm"
    path.write_bytes(b"P6\n# 12 bits\n4 5\n4095\n" + deep.astype(">u2").tobytes())
    np.testing.assert_array_equal(read(path), np.moveaxis(deep, -1, 0))
    assert read(path).dtype == np.uint16
    path.write_bytes(f"P3 4 5 4095\n{' '.join(map(str, deep.ravel()))}\n".encode())
    np.testing.assert_array_equal(read(path), np.moveaxis(deep, -1, 0))
    path.write_bytes(b"P2\n3 2\n# classes\n3\n0 1 2\n3 # the last\n1 0\n")
    assert read_labels(path).tolist() == [[0, 1, 2], [3, 1, 0]]
    path.write_bytes(b"P1\n3 2\n101\n0 1 1\n")
    assert read_labels(path).tolist() == [[0, 255, 0], [255, 0, 0]]


def test_damaged_pnm(tmp_path: Path) -> None:
    for content, message in {
        b"P7 4 4 255\n" + bytes(16): "no PBM, PGM or PPM header",
        b"P5 4 x 255\n" + bytes(16): "its header is damaged",
        b"P5 4 4 0\n" + bytes(16): "a highest value of 0",
        b"P5 4 4 70000\n" + bytes(16): "a highest value of 70000",
        b"P5 4 4 255\n" + bytes(15): "ends before its pixels do",
        b"P2 4 4 255\n" + b"1 " * 15: "ends before its pixels do",
        b"P2 4 4 255\n" + b"1 " * 15 + b"-1": "something else than numbers",
        b"P2 4 4 255\n" + b"1 " * 15 + b"256": "more than 255",
        b"P1 4 4\n" + b"1 " * 15: "ends before its pixels do",
        b"P5 0 4 255\n": "has no pixels",
        b"P5 400000 400000 255\n" + bytes(16): "promises 149.0 GiB of pixels in a file of",
    }.items():
        (tmp_path / "a.pgm").write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_image(tmp_path / "a.pgm")
    (tmp_path / "a.pgm.gz").write_bytes(gzip.compress(b"P5 40 40 255\n" + bytes(1600))[:-20])
    with pytest.raises(InputError, match=r"cannot be read as pgm\.gz"):
        read_image(tmp_path / "a.pgm.gz")


# --------------------------------------------------------------------------------------- threads


def test_decoding_lets_other_threads_run(tmp_path: Path, generator: np.random.Generator) -> None:
    pixels = generator.integers(0, 256, (1500, 1500, 3), np.uint8)
    for suffix in (".png", ".jpg"):
        path = tmp_path / f"a{suffix}"
        Pillow.fromarray(pixels).save(path)
        reading = threading.Thread(target=read_image, args=(path,))
        ticks, start = 0, time.perf_counter()
        reading.start()
        while reading.is_alive():
            time.sleep(0.001)
            ticks += 1
        took = time.perf_counter() - start
        assert ticks > took * 100  # of 1000 a second, had they a core for themselves


def test_reading_waits_for_no_lock(tmp_path: Path, generator: np.random.Generator) -> None:
    """Silencing warnings changes the whole process, hence one at a time; most need not."""
    pixels = generator.integers(0, 256, (40, 50, 3), np.uint8)
    for suffix in ("png", "jpg", "ppm", "tif"):
        Pillow.fromarray(pixels).save(tmp_path / f"a.{suffix}")
    np.save(tmp_path / "a.npy", pixels)
    np.savez(tmp_path / "a.npz", pixels)
    nibabel.save(nibabel.Nifti1Image(pixels, np.eye(4)), tmp_path / "a.nii")
    nibabel.save(nibabel.Nifti1Image(pixels, np.eye(4)), tmp_path / "a.nii.gz")
    paths = list_images(tmp_path)
    assert len(paths) == 8
    done = []

    def go() -> None:
        done.extend(read_image(path).data.shape for path in paths)

    with quiet():
        reading = threading.Thread(target=go)
        reading.start()
        reading.join(20)
    assert len(done) == 8
