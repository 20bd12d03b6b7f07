"""Says what a file is that cannot be read as an image, and what to do about it."""

from __future__ import annotations

import re

HEAD = 512  # bytes that are looked at
SHORT = 16  # bytes; of fewer, only a signature tells anything

# The beginning of a file -> what it is, and the remedy.
SIGNATURES = (
    (b"version https://git-lfs", "a Git LFS pointer and not the image itself; run `git lfs pull`"),
    (b"%PDF", "a PDF document; export the page as PNG"),
    (b"8BPS", "a Photoshop document; export it as PNG"),
    (b"%!PS", "a PostScript drawing; export it as PNG"),
    (b"\x76\x2f\x31\x01", "an OpenEXR image, which cfx does not read; export it as PNG or TIFF"),
    (b"PK\x03\x04", "a ZIP archive; unpack it first"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"\x89HDF", "an HDF5 file, not an image; export its images as PNG or TIFF"),
    (b"\x93NUMPY", "a NumPy array, not an image; save it as PNG or TIFF"),
    (b"SIMPLE  =", "a FITS image, which cfx does not read; export it as TIFF"),
    (b"\x00asm", "a WebAssembly module, not an image"),
    (b"\x7fELF", "a program, not an image"),
    (b"MZ", "a program, not an image"),
    (b"ID3", "a sound file, not an image"),
    (b"OggS", "a sound or video file, not an image"),
    (b"\x1aE\xdf\xa3", "a video, not an image; export a frame as PNG"),
)
IMAGES = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"BM", "BMP"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
)
HEIF = ("heic", "heix", "hevc", "hevx", "heim", "heis", "mif1", "msf1")
UNSUPPORTED = ("TIFF", "BMP")  # formats with kinds that Pillow does not read
HTML = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype html|html|head|body)", re.IGNORECASE | re.DOTALL)


def is_heif(head: bytes) -> bool:
    """Whether a file begins like a HEIC or HEIF image."""
    return head[4:8] == b"ftyp" and head[8:12].decode("latin-1") in HEIF


def format_of(head: bytes) -> str | None:
    """The image format that a file begins like; None if it is none that cfx reads."""
    for magic, name in IMAGES:
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if is_heif(head):
        return "HEIC"
    if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis"):
        return "AVIF"
    return "PPM" if re.match(rb"P[1-7]\s", head) else None


def what_it_is(head: bytes) -> str | None:
    """What a file is that begins with these bytes, and what to do; None if it begins like an image or is unknown."""
    if format_of(head) is not None:
        return None
    for magic, says in SIGNATURES:
        if head.startswith(magic):
            return says
    if head[4:8] == b"ftyp":
        return "a video, not an image; export a frame as PNG"
    if head[128:132] == b"DICM":
        return "a DICOM image, which cfx does not read; export it as 16-bit PNG or TIFF"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "a pickle, not an image; export its images as PNG"
    if len(head) < SHORT:  # too little to tell
        return None
    if not head.strip(b"\x00"):
        return "nothing but zeros, as an interrupted download or a failing disk leaves; copy it again"
    text = head.removeprefix(b"\xef\xbb\xbf")
    if HTML.match(text):
        return "an HTML page, not an image: the download has failed or needs a login; download it again"
    if b"<svg" in text:
        return "an SVG drawing; export it as PNG"
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(text) - 4:  # not only a character that is cut off at the end
            return None
        decoded = text[: error.start].decode("utf-8")
    if all(character.isprintable() or character.isspace() for character in decoded):
        first = " ".join(decoded.split())[:40]
        return f"a text file ({first!r}), not an image; put the image there that it stands for"
    return None
