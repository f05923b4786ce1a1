"""Tars that are cut, damaged or made to keep a reader busy."""

import gzip
import io
import tarfile

import pytest
from helpers.shards import write_tar

from open_clip_mmrl.data.shards import tar_file
from open_clip_mmrl.data.shards.tar_file import has_closing_mark, members


def header(name=b"a.cls", size=b"00000000000", kind=b"0"):
    """A tar header with a right checksum."""
    block = bytearray(512)
    block[: len(name)] = name
    block[124 : 124 + len(size)] = size
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def content_of(source):
    return [(member.name, read()) for member, read in members(source)]


def test_members_and_contents_from_a_file_a_stream_and_a_compressed_stream(tmp_path):
    path = write_tar(tmp_path / "0.tar", a__png=b"image", a__cls=b"1")
    expected = [("a.png", b"image"), ("a.cls", b"1")]
    content = path.read_bytes()
    for source in (path, io.BytesIO(content), io.BytesIO(gzip.compress(content))):
        assert content_of(source) == expected


def both(content, path):
    """The same tar as a file and as a stream."""
    path.write_bytes(content)
    return path, io.BytesIO(content)


NEGATIVE = b"\xff" * 11 + b"\x00"
HUGE = b"77777777777"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (header(size=NEGATIVE) + bytes(2048), "size -"),
        (header(size=HUGE, kind=b"L") + bytes(2048), "size 8589934591"),
        (header(size=HUGE, kind=b"x") + bytes(2048), "size 8589934591"),
        (header(size=b"00000000020", kind=b"x") + b"16 size=-100000\n" + bytes(496)
         + header() + bytes(2048), "negative|damaged|size"),
        (b"\xff" * 2048, "invalid|damaged|not be opened|bad checksum"),
        (header(kind=b"L", size=b"00000000001") * 3000, "."),
    ],
)  # fmt: skip
def test_absurd_headers_are_refused_at_once(tmp_path, content, words):
    for source in both(content, tmp_path / "0.tar"):
        with pytest.raises(tarfile.ReadError, match=words):
            content_of(source)


def test_a_member_of_gigabytes_is_not_read(monkeypatch, tmp_path):
    monkeypatch.setattr(tar_file, "MAX_MEMBER", 100)
    path = write_tar(tmp_path / "0.tar", a__png=bytes(101))
    for source in (path, io.BytesIO(path.read_bytes())):
        with pytest.raises(tarfile.ReadError, match=r"a\.png has 101 bytes, more than the 100"):
            content_of(source)


def test_a_stream_without_end_is_bounded(monkeypatch):
    class Endless(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            buffer[:] = (header() * (len(buffer) // 512 + 1))[: len(buffer)]
            return len(buffer)

    monkeypatch.setattr(tar_file, "MAX_TAR", 10**5)
    with pytest.raises(tarfile.ReadError, match="more than 100,000 bytes"):
        content_of(io.BufferedReader(Endless()))


def test_the_end_of_a_whole_tar_is_known(tmp_path):
    path = write_tar(tmp_path / "0.tar", a__png=b"image")
    content = path.read_bytes()
    assert has_closing_mark(path)
    for damaged in (b"", content[:1024], content[:-1], content + b"x"):
        path.write_bytes(damaged)
        assert not has_closing_mark(path)
