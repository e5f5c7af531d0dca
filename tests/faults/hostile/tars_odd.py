"""Tars with odd members: what is good in them is used, the rest quarantined by key."""

from collections.abc import Callable

from tests.data.test_tar import resealed
from tests.faults.hostile.case import Case, file_of
from tests.faults.hostile.tars_broken import GNU, IMAGE, header, padded, record, tar, with_pax

LONG = "n" * 1_000_000 + ".jpg"
SLASHES = "a/" * 500_000 + "a.jpg"


def beside(*members: bytes) -> bytes:
    """Raw members before a shard with the key `good`."""
    return b"".join(members) + tar("good.jpg")


def linked(kind: bytes) -> bytes:
    return beside(header("odd.jpg", kind, 0))


def sparse() -> bytes:
    """512 bytes that claim to be 16 GB."""
    data = resealed(header("odd.jpg", b"S", 512), 0, 483, b"177777777777")
    return beside(data, bytes(512))


def sparse_pax() -> bytes:
    records = record("GNU.sparse.major", "1") + record("GNU.sparse.name", "odd.jpg")
    return header("p", b"x", len(records)) + padded(records) + header("x", b"0", 0)


def global_bomb() -> bytes:
    """20 000 records that tarfile copies into each of 2 000 members."""
    records = b"".join(record(f"k{n}", "v") for n in range(20_000))
    return (
        header("g", b"g", len(records)) + padded(records) + tar(*(f"{n}.jpg" for n in range(2000)), data=b"")
    )


def long_name(name: bytes, kind: bytes = b"L") -> bytes:
    return header("././@LongLink", kind, len(name) + 1) + padded(name + b"\0")


NOT_PLAIN = "odd: .*link, a device or a sparse"
_LEFT_OUT: dict[str, tuple[Callable[[], bytes], str]] = {
    "an absolute name": (lambda: tar("good.jpg", "/etc/odd.jpg"), "/etc/odd: .*leaves the shard"),
    "a name with ..": (lambda: tar("good.jpg", "a/../../odd.jpg"), "odd: .*leaves the shard"),
    "a symbolic link": (lambda: linked(b"2"), NOT_PLAIN),
    "a hard link": (lambda: linked(b"1"), NOT_PLAIN),
    "a character device": (lambda: linked(b"3"), NOT_PLAIN),
    "a block device": (lambda: linked(b"4"), NOT_PLAIN),
    "a FIFO": (lambda: linked(b"6"), NOT_PLAIN),
    "a member of an unknown type": (lambda: linked(b"Z"), NOT_PLAIN),
    "a sparse file": (sparse, NOT_PLAIN),
    "a sparse file, pax": (lambda: sparse_pax() + tar("good.jpg"), NOT_PLAIN),
    "a name of a megabyte, GNU": (
        lambda: tar("good.jpg", LONG, tar_format=GNU),
        "^n{200}[.]{3}: its name is longer than 1024 bytes$",
    ),
    "a name of a megabyte, pax": (
        lambda: tar("good.jpg", LONG),
        "^n{200}[.]{3}: its name is longer than 1024 bytes$",
    ),
    "a name of half a million folders": (lambda: tar("good.jpg", SLASHES), "longer than 1024"),
    "a name with line breaks": (lambda: tar("good.jpg", "a\nb.jpg"), "control characters"),
    "a name that clears the terminal": (lambda: tar("good.jpg", "\x1b[2J\x9b.jpg"), "control characters"),
    "a name that is not UTF-8": (lambda: tar("good.jpg", "\udcff.jpg", tar_format=GNU), "not UTF-8"),
    "a key before the first dot": (lambda: tar("good.jpg", "a.b.c.jpg"), r"a: no image .*\(b\.c\.jpg\)"),
    "two images of one key": (lambda: tar("good.jpg", "two.jpg", "two.png"), "two: 2 images"),
    "a key without an image": (lambda: tar("good.jpg", "odd.txt"), "odd: no image"),
}
_USED: dict[str, tuple[Callable[[], bytes], str]] = {
    "a name of a megabyte without a dot": (lambda: tar("good.jpg", LONG[:-4]), "^good$"),
    "folders of a megabyte, no dot behind": (lambda: tar("good.jpg", "a.b/" * 250_000 + "c"), "^good$"),
    "a name of a megabyte, WebDataset's own": (lambda: tar("good.jpg", f"__{LONG[:-4]}__/a.jpg"), "^good$"),
    "a folder": (lambda: linked(b"5"), "^good$"),
    "a folder that claims a size": (lambda: beside(header("odd.jpg", b"5", 4096)), "^good$"),
    "keys in NFC and in NFD": (lambda: tar("\u00e9.jpg", "e\u0301.jpg"), "^\u00e9, e\u0301$"),
    "keys in many scripts": (lambda: tar("日本.jpg", "שלום.jpg", "🙂.jpg"), "^日本, שלום, 🙂$"),
    "a PNG called .jpg": (lambda: tar("a.jpg", data=b"\x89PNG"), "^a$"),
    "a Windows path": (lambda: tar("C:\\temp\\a.jpg"), r"^C:\\temp\\a$"),
    "hidden files and Apple's": (lambda: tar(".hidden.jpg", "._good.jpg", "good.jpg"), "good$"),
    "20 000 global records and 2 000 members": (global_bomb, "^0, 1, 2"),
    "a long name again and again": (
        lambda: beside(long_name(b"x.jpg") * 2000, long_name(b"k", b"K")),
        "^x$",
    ),
    "a volume label": (lambda: beside(header("label", b"V", 0)), "^good$"),
    "two tar members in one image": (lambda: tar("a.jpg", data=tar("inner.jpg")), "^a$"),
    "pax: a name of an image": (lambda: with_pax(record("path", "b.jpg")), "^b$"),
    "images of no bytes": (lambda: tar("a.jpg", "b.jpg", data=b""), "^a, b$"),
    "the smallest end": (lambda: tar("a.jpg")[: 512 + len(padded(IMAGE)) + 1024], "^a$"),
}
CASES = (
    *(
        Case("tar", name, file_of("x-0.tar", data), "quarantined", says)
        for name, (data, says) in _LEFT_OUT.items()
    ),
    *(Case("tar", name, file_of("x-0.tar", data), "used", says) for name, (data, says) in _USED.items()),
)
