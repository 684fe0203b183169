"""Archives of strangers: what is sound comes out, what is hostile or damaged is refused, nothing lands elsewhere."""

import gzip
import io
import stat
import struct
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from showtell.data.disk import DiskError
from showtell.data.unpack import unpack, why_unsafe
from showtell.errors import DataError

PLENTY = 10**9
FILES = {"a.txt": b"one", "in/b.bin": bytes(range(256)) * 100, "in/deeper/c": b""}


def make_zip(path, entries, compression=zipfile.ZIP_DEFLATED):
    """A zip of names and contents; a name may be a `ZipInfo` that says more."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items() if isinstance(entries, dict) else entries:
            archive.writestr(name, content)
    return path


def make_tar(path, entries, mode="w:gz"):
    """A tar of names and contents; a `TarInfo` in place of a content is added as it is."""
    with tarfile.open(path, mode) as archive:
        for name, content in entries.items() if isinstance(entries, dict) else entries:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                archive.addfile(content)
    return path


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_entry(name, mode=0, flags=0):
    info = zipfile.ZipInfo("x")
    info.filename = name  # the constructor would tidy it
    info.external_attr, info.flag_bits = mode << 16, flags
    return info


def everything(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture
def place(tmp_path):
    """A folder with the archive's place, the target, and a file outside that must stay as it is."""
    (tmp_path / "victim.txt").write_text("untouched")
    (tmp_path / "data").mkdir()
    return tmp_path


def refusal(place, archive, **options):
    """Why an archive is refused; nothing but the target may have changed."""
    before = everything(place)
    with pytest.raises(DataError) as caught:
        unpack(archive, place / "data" / "out", **({"max_bytes": PLENTY} | options))
    assert {name: content for name, content in everything(place).items() if not name.startswith("data/out/")} == before
    assert not any(path.is_symlink() for path in place.rglob("*"))
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{archive}: ")
    return text.removeprefix(f"{archive}: ").removeprefix("is refused, as ")


@pytest.mark.parametrize("kind", ["zip", "stored", "tar", "tar.gz"])
def test_what_was_packed_comes_out(place, kind):
    archive = place / f"a.{kind}"
    if kind in ("zip", "stored"):
        make_zip(archive, FILES, zipfile.ZIP_STORED if kind == "stored" else zipfile.ZIP_DEFLATED)
    else:
        make_tar(archive, FILES, "w" if kind == "tar" else "w:gz")
    reached = []
    result = unpack(archive, place / "out", max_bytes=PLENTY, progress=reached.append)
    assert everything(place / "out") == FILES
    assert result.found == {name: len(content) for name, content in FILES.items()}
    assert result.left_out == 0
    assert reached == sorted(reached)
    assert 0 < reached[-1] <= archive.stat().st_size


def test_other_programs_ways_of_packing_are_read(place):
    entries = [("./", special(".", tarfile.DIRTYPE)), ("./in/", special("./in", tarfile.DIRTYPE)), ("./in/a", b"1")]
    make_tar(place / "a.tar.gz", entries)
    unpack(place / "a.tar.gz", place / "out", max_bytes=PLENTY)
    assert everything(place / "out") == {"in/a": b"1"}
    mode = stat.S_IFREG | 0o777
    make_zip(place / "a.zip", [(zip_entry("in/", stat.S_IFDIR | 0o755), b""), (zip_entry("in/ä b.txt", mode), b"2")])
    unpack(place / "a.zip", place / "out2", max_bytes=PLENTY)
    assert everything(place / "out2") == {"in/ä b.txt": b"2"}
    assert not (place / "out2/in/ä b.txt").stat().st_mode & 0o111  # no program comes out of a data set


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_read(place, form):
    name = "/".join(["folder" * 5] * 6) + "/end.txt"
    with tarfile.open(place / "a.tar.gz", "w:gz", format=form) as archive:
        info = tarfile.TarInfo(name)
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    assert unpack(place / "a.tar.gz", place / "out", max_bytes=PLENTY).found == {name: 1}


def test_only_what_is_wanted_comes_out_and_never_litter(place):
    litter = {"__MACOSX/in/._b.bin": b"x", "in/.DS_Store": b"x", "in/._b.bin": b"x", "in/Thumbs.db": b"x"}
    make_zip(place / "a.zip", FILES | litter)
    result = unpack(place / "a.zip", place / "out", max_bytes=PLENTY)
    assert everything(place / "out") == FILES
    assert result.left_out == 4
    result = unpack(place / "a.zip", place / "out2", max_bytes=PLENTY, take=["in/b*", "*.txt"])
    assert set(result.found) == {"a.txt", "in/b.bin"}


HOSTILE_NAMES = [
    ("/etc/evil", "is absolute"),
    ("//host/evil", "is absolute"),
    ("\\evil", "is absolute"),
    ("C:\\evil", "is absolute"),
    ("c:evil", "is absolute"),
    ("../evil", "leads out of the folder by .."),
    ("in/../../evil", "leads out of the folder by .."),
    ("in\\..\\..\\evil", "leads out of the folder by .."),
    ("in\\evil", "holds a backslash"),
    ("a.txt:stream", "holds a colon"),
    ("evil.", "ends with a dot or a blank"),
    ("in /evil", "ends with a dot or a blank"),
    (".../evil", "ends with a dot or a blank"),
    ("in/NUL", "is a device on Windows"),
    ("com1.txt", "is a device on Windows"),
    ("é" * 128, "has a part of more than 255 bytes"),
    ("long/" * 200 + "x", "has more than 1,000 bytes"),
    ("two\nlines", "no character of a text"),
    ("\x1b[2J", "no character of a text"),
    (".download/f.done", "in the folder where downloads are kept"),
    (".Download/f.done", "in the folder where downloads are kept"),
]


@pytest.mark.parametrize(("name", "reason"), HOSTILE_NAMES)
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize("take", [(), ("wanted",)])
def test_hostile_names_are_refused_whether_wanted_or_not(place, kind, name, reason, take):
    if kind == "zip":
        make_zip(place / "a.zip", [("wanted", b"1"), (zip_entry(name), b"evil")])
    else:
        make_tar(place / "a.tar.gz", [("wanted", b"1"), (name, b"evil")])
    assert reason in refusal(place, place / f"a.{kind}", take=take)


def test_a_name_that_ends_at_a_null_byte_is_refused(place):
    make_zip(place / "a.zip", {"aXb": b"1"})
    data = (place / "a.zip").read_bytes().replace(b"aXb", b"a\0b")
    (place / "a.zip").write_bytes(data)
    assert "no character of a text" in refusal(place, place / "a.zip")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("a.txt", "A.TXT"), "the names 'a.txt' and 'A.TXT' are the same on some systems"),
        (("in/a", "IN/b"), "the names 'in' and 'IN' are the same on some systems"),
        (("\u00e9", "e\u0301"), "are the same on some systems"),
        (("a.txt", "a.txt"), "the name 'a.txt' stands there twice"),
        (("a.txt", "./a.txt"), "the name './a.txt' stands there twice"),
        (("a", "a/b"), "'a' is a file and a folder"),
        (("a/b", "a"), "'a' is a file and a folder"),
    ],
)
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_two_entries_for_one_file_are_refused(place, kind, names, reason):
    entries = [(name, b"1") for name in names]
    if kind == "zip":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that stand there twice
            make_zip(place / "a.zip", [(zip_entry(name), content) for name, content in entries])
    else:
        make_tar(place / "a.tar.gz", entries)
    assert reason in refusal(place, place / f"a.{kind}")


@pytest.mark.parametrize(
    ("kind", "target", "reason"),
    [
        (tarfile.SYMTYPE, "..", "is a link"),
        (tarfile.SYMTYPE, "a.txt", "is a link"),
        (tarfile.LNKTYPE, "../../victim.txt", "is a link"),
        (tarfile.LNKTYPE, "a.txt", "is a link"),
        (tarfile.FIFOTYPE, "", "is a device"),
        (tarfile.CHRTYPE, "", "is a device"),
        (tarfile.BLKTYPE, "", "is a device"),
    ],
)
@pytest.mark.parametrize("take", [(), ("a.txt",)])
def test_links_and_devices_of_a_tar_are_refused(place, kind, target, reason, take):
    link = special("out", kind, target)
    make_tar(place / "a.tar.gz", [("a.txt", b"1"), ("out", link), ("out/victim.txt", b"evil")])
    assert reason in refusal(place, place / "a.tar.gz", take=take)


@pytest.mark.parametrize(("kind", "reason"), [(stat.S_IFLNK, "is a link"), (stat.S_IFIFO, "is a device")])
def test_links_and_devices_of_a_zip_are_refused(place, kind, reason):
    entries = [(zip_entry("out", kind | 0o777), b".."), ("out/victim.txt", b"evil")]
    make_zip(place / "a.zip", entries)
    assert reason in refusal(place, place / "a.zip")


def test_an_encrypted_entry_is_refused(place):
    make_zip(place / "a.zip", {"a.txt": b"1"})
    data = bytearray((place / "a.zip").read_bytes())
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + flags] |= 1
    (place / "a.zip").write_bytes(data)
    assert "'a.txt' is encrypted" in refusal(place, place / "a.zip")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_without_a_limit_are_refused(place, method):
    make_zip(place / "a.zip", {"a.txt": b"1" * 100}, method)
    assert "is compressed by method" in refusal(place, place / "a.zip")


def test_a_bomb_is_told_by_its_ratio(place):
    make_zip(place / "a.zip", {"zeros": bytes(10_000_000)})
    assert "'zeros' would become 1,0" in refusal(place, place / "a.zip")
    make_zip(place / "b.zip", {"zeros": bytes(1_000_000)})  # a drawing may be as plain as that
    assert unpack(place / "b.zip", place / "b", max_bytes=PLENTY).found == {"zeros": 1_000_000}


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize("take", [(), ("nothing",)])
def test_more_than_expected_is_refused_before_it_is_written(place, kind, take):
    make_zip(place / "a.zip", {"a": bytes(600), "b": bytes(600)})
    make_tar(place / "a.tar.gz", {"a": bytes(600), "b": bytes(600)})
    assert "more than 1,000 bytes would come out" in refusal(place, place / f"a.{kind}", max_bytes=1000, take=take)
    written = everything(place / "data/out") if (place / "data/out").exists() else {}
    assert sum(map(len, written.values())) <= 1000
    assert kind == "tar.gz" or written == {}


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_more_files_than_expected_are_refused(place, kind):
    many = {f"{i}": b"" for i in range(11)}
    make_zip(place / "a.zip", many)
    make_tar(place / "a.tar.gz", many)
    assert "more than 10 entries" in refusal(place, place / f"a.{kind}", max_entries=10)


def test_entries_that_share_their_bytes_do_not_multiply(place):
    """All entries of the list lead to the same packed bytes: small outside, large inside."""
    make_zip(place / "one.zip", {"f": bytes(range(256)) * 40})
    data = (place / "one.zip").read_bytes()
    start, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    kernel, entry, tail = data[:start], data[start:end], bytearray(data[end:])
    tail[8:16] = struct.pack("<HHL", 200, 200, 200 * len(entry))
    (place / "a.zip").write_bytes(kernel + entry * 200 + tail)
    assert len(zipfile.ZipFile(place / "a.zip").infolist()) == 200
    assert "more than 1,000,000 bytes" in refusal(place, place / "a.zip", max_bytes=1_000_000)
    (place / "data/out").rmdir()
    refusal(place, place / "a.zip")


def test_a_zip_that_understates_its_sizes_is_refused(place):
    make_zip(place / "a.zip", {"a.bin": bytes(range(256)) * 40})
    data = (place / "a.zip").read_bytes().replace(struct.pack("<L", 10_240), struct.pack("<L", 100))
    (place / "a.zip").write_bytes(data)
    assert refusal(place, place / "a.zip").startswith("is damaged (")
    assert (place / "data/out/a.bin").stat().st_size <= 100


def tar_header(name=b"a", size=b"00000000000\0", kind=b"0"):
    header = bytearray(512)
    header[: len(name)], header[100:108], header[124 : 124 + len(size)] = name, b"0000644\0", size
    header[156:157], header[257:265] = kind, b"ustar\x0000"
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def gz(place, content):
    (place / "a.tar.gz").write_bytes(gzip.compress(content))
    return place / "a.tar.gz"


def test_a_tar_whose_headers_lead_back_is_refused(place):
    # Base-256 numbers may be negative: the next header would be this one again, for ever.
    content = tar_header(size=b"\xff" * 10 + (-512 & 0xFFFF).to_bytes(2, "big")) + bytes(1024)
    assert refusal(place, gz(place, content))


def test_a_tar_whose_header_claims_to_be_huge_is_refused(place):
    huge = b"\x80" + (1 << 40).to_bytes(11, "big")
    for kind in (b"x", b"L", b"g", b"K"):
        assert "claims 1,099,511,6" in refusal(place, gz(place, tar_header(size=huge, kind=kind) + bytes(2048)))
        (place / "data/out").rmdir()
    assert "more than" in refusal(place, gz(place, tar_header(size=huge) + bytes(2048)))


def test_a_sparse_file_is_refused(place):
    content = bytearray(tar_header(kind=b"S"))
    content[386:410] = b"00000000000 00000000000 "
    content[483:495] = b"77777777777\0"  # the size that it has on disk
    content[148:156] = b"        "
    content[148:156] = b"%06o\0 " % sum(content)
    assert "is a sparse file" in refusal(place, gz(place, bytes(content) + bytes(1024)))


def test_a_tar_of_headers_alone_ends_at_a_limit(place):
    content = tar_header(size=b"00000000001\0") + bytes(512) + bytes(3_000_000)
    assert "more than 21,480 bytes" in refusal(place, gz(place, content), max_bytes=1000, max_entries=10)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_damage_anywhere_is_noticed(place, kind):
    """One bit turned, at every place that matters: refused, or what comes out is what was packed."""
    content = {"a.txt": bytes(range(200)), "b.txt": b"two" * 50}
    archive = place / f"a.{kind}"
    if kind == "zip":
        make_zip(archive, content)
    else:
        make_tar(archive, content, "w" if kind == "tar" else "w:gz")
    sound = archive.read_bytes()
    refused = 0
    for position in range(0, min(len(sound), 2048), 7):
        damaged = bytearray(sound)
        damaged[position] ^= 0x10
        archive.write_bytes(damaged)
        out = place / "data" / f"{position}"
        try:
            unpack(archive, out, max_bytes=PLENTY)
        except DiskError:
            raise
        except DataError:
            refused += 1
        else:
            # Names of a zip and contents of a plain tar have no checksum; the number of files is told by both.
            assert len(everything(out)) == 2
            if kind != "tar":
                assert list(everything(out).values()) == list(content.values())
    assert refused > (20 if kind == "tar" else 30)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_cut_archive_is_noticed(place, kind, share):
    content = {f"{i}.bin": bytes(range(256)) * 10 for i in range(10)}
    archive = place / f"a.{kind}"
    if kind == "zip":
        make_zip(archive, content)
    else:
        make_tar(archive, content, "w" if kind == "tar" else "w:gz")
    sound = archive.read_bytes().rstrip(b"\0") if kind == "tar" else archive.read_bytes()
    archive.write_bytes(sound[: int(len(sound) * share)])
    refusal(place, archive)


def test_what_is_no_archive_is_said_to_be_what_it_is(place):
    (place / "a.zip").write_bytes(b"<!DOCTYPE html><html>Log in to the network</html>")
    assert "it is no archive: found a web page, expected zip, tar or tar.gz" in refusal(place, place / "a.zip")
    (place / "data/out").rmdir()
    (place / "a.zip").write_bytes(b"")
    assert "found nothing" in refusal(place, place / "a.zip")


def test_a_full_disk_is_no_fault_of_the_archive(place, monkeypatch):
    make_zip(place / "a.zip", FILES)

    true_open = Path.open

    def full(self, mode="r", *rest):
        if mode == "xb":
            raise OSError(28, "No space left on device")
        return true_open(self, mode, *rest)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DiskError, match="No space left on device"):
        unpack(place / "a.zip", place / "out", max_bytes=PLENTY)


@given(st.lists(st.sampled_from(["..", ".", "", "a", "B", "c:", "\\", "/", "nul", "x.", " ", "\0", "é"]), max_size=6))
@settings(max_examples=300)
def test_every_name_that_is_allowed_stays_inside(parts):
    name = "/".join(parts)
    if not why_unsafe(name):
        target = Path("/inside/here")
        inner = Path(target, name)
        assert inner.is_relative_to(target)
        assert ".." not in inner.parts
