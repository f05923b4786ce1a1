import gzip
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.shards import write_root, write_tar
from helpers.site import serve

from open_clip_mmrl.data.shards import download, request
from open_clip_mmrl.data.shards.download import cached, fetch_shard, fetch_text, open_shard
from open_clip_mmrl.data.shards.index import read_layout, shard_urls, splits_of


def test_text_is_fetched_and_404_is_none(site):
    folder, address, _ = site
    (folder / "a.txt").write_text("één\n", encoding="utf-8")
    assert fetch_text(f"{address}/a.txt") == "één\n"
    assert fetch_text(f"{address}/b.txt") is None


def test_any_other_status_is_named_with_the_address(site):
    _, address, _ = site
    with pytest.raises(ValueError, match=rf"{address}/private cannot be fetched: status 401"):
        fetch_text(f"{address}/private")
    with pytest.raises(ValueError, match=r"gone\.tar cannot be fetched: status 404"):
        fetch_shard(f"{address}/gone.tar", "test", quiet=True)


def test_a_busy_server_is_tried_again_with_longer_waits(site, monkeypatch):
    folder, address, log = site
    waits = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", waits.append)
    (folder / "busy.txt").write_text("at last")
    assert fetch_text(f"{address}/busy.txt") == "at last"
    assert log == ["/busy.txt"] * 3 and waits == [10]  # the first retry is at once
    with pytest.raises(ValueError, match=r"down cannot be fetched: status 503"):
        open_shard(f"{address}/down")
    assert log[3:] == ["/down"] * 6 and waits[1:] == [10, 20, 40, 80]


def test_a_redirect_to_another_scheme_is_refused(site):
    for kind, target in (("file", "file:///etc/hostname"), ("ftp", "ftp://127.0.0.1")):
        for fetch in (fetch_text, fetch_shard, open_shard):
            with pytest.raises(
                ValueError, match=rf"elsewhere/{kind} cannot be fetched: .*{target}"
            ):
                fetch(f"{site[1]}/elsewhere/{kind}")
    assert all(path.startswith("/elsewhere/") for path in site[2])  # nothing else was fetched


def test_redirects_are_followed_without_reading_them(site):
    shard = write_tar(site[0] / "0.tar", a__png=b"image", a__cls=b"1")
    fetched = fetch_shard(f"{site[1]}/elsewhere/endless", quiet=True)
    assert fetched.read_bytes() == shard.read_bytes()
    for kind in ("nowhere", "bytes", "again"):
        with pytest.raises(ValueError, match=rf"elsewhere/{kind} cannot be fetched: "):
            fetch_text(f"{site[1]}/elsewhere/{kind}")


def test_another_status_than_200_is_no_content(site):
    with pytest.raises(ValueError, match=r"nothing cannot be fetched: status 204"):
        fetch_text(f"{site[1]}/nothing")


def test_a_server_that_never_answers_or_hardly_sends_is_given_up(site, monkeypatch):
    monkeypatch.setattr(request, "ANSWER_SECONDS", 0.2)
    with pytest.raises(ValueError, match=r"continue cannot be fetched: after 0\.2 s"):
        fetch_text(f"{site[1]}/continue")
    monkeypatch.setattr(request, "SLOW_SECONDS", 0.2)
    with pytest.raises(ValueError, match=r"slow\.tar cannot be fetched: .* sent \d+ bytes in 0 s"):
        fetch_shard(f"{site[1]}/slow.tar", quiet=True)
    with open_shard(f"{site[1]}/slow.tar") as stream, pytest.raises(TimeoutError, match="sent"):
        stream.read()


def test_a_text_that_is_cut_short_or_too_long_is_refused(site, monkeypatch):
    folder, address, _ = site
    with pytest.raises(
        ValueError, match=r"short\.txt cannot be fetched: .*10 bytes read, 990 more"
    ):
        fetch_text(f"{address}/short.txt")
    monkeypatch.setattr(download, "MAX_TEXT", 100)
    (folder / "long.txt").write_text("x" * 101)
    with pytest.raises(ValueError, match=r"long\.txt .* more than 100 bytes"):
        fetch_text(f"{address}/long.txt")


def test_a_text_that_never_ends_is_given_up(site, monkeypatch):
    monkeypatch.setattr(download, "TEXT_SECONDS", 0.2)
    with pytest.raises(ValueError, match=r"slow\.txt cannot be fetched: after 0\.2 s"):
        fetch_text(f"{site[1]}/slow.txt")
    monkeypatch.setattr(download, "TEXT_SECONDS", 60)
    with pytest.raises(ValueError, match=r"endless\.txt is no small text file: .* more than"):
        fetch_text(f"{site[1]}/endless.txt")


@pytest.mark.parametrize("fetch", [fetch_text, fetch_shard, open_shard])
def test_an_answer_that_is_compressed_unasked_is_refused(site, fetch):
    with pytest.raises(ValueError, match=r"squeezed cannot be fetched: .*compressed \(gzip\)"):
        fetch(f"{site[1]}/squeezed")


def test_a_shard_is_streamed_and_kept_nowhere(site, cache):
    folder, address, _ = site
    (folder / "0.tar").write_bytes(b"content")
    with open_shard(f"{address}/0.tar") as stream:
        assert stream.read() == b"content"
    assert not cache.exists()
    with pytest.raises(ValueError, match=r"1\.tar cannot be fetched: status 404"):
        open_shard(f"{address}/1.tar")


def test_a_server_that_does_not_answer_is_named(cache):
    with serve(cache.parent) as (address, _):
        pass
    with pytest.raises(ValueError, match=rf"{address}/a\.txt cannot be fetched: .*refused"):
        fetch_text(f"{address}/a.txt")


def test_a_shard_is_fetched_once(site, cache):
    folder, address, log = site
    (folder / "train").mkdir()
    shard = write_tar(folder / "train" / "0.tar", a__png=bytes(range(256)) * 9000, a__cls=b"1")
    url, content = f"{address}/train/0.tar", shard.read_bytes()
    path = fetch_shard(url, "train", quiet=True)
    assert path.read_bytes() == content and path.is_relative_to(cache)
    assert [entry.name for entry in path.parent.iterdir()] == ["0.tar"]
    assert fetch_shard(url, "train", quiet=True) == path == cached(url)
    assert log == ["/train/0.tar"]
    other = fetch_shard(url, "train", folder=cache / "other", quiet=True)
    assert other.read_bytes() == content and other.is_relative_to(cache / "other")


def test_a_shard_of_unknown_length_is_fetched(site):
    shard = write_tar(site[0] / "0.tar", a__png=b"image", a__cls=b"1")
    fetched = fetch_shard(f"{site[1]}/without-length/0.tar", "t", quiet=True)
    assert fetched.read_bytes() == shard.read_bytes()


@pytest.mark.parametrize("damage", ["cut", "cut at a block", "gzip", "no tar", "empty"])
def test_what_is_no_whole_tar_never_gets_the_name_of_a_shard(site, cache, damage):
    shard = write_tar(site[0] / "0.tar", a__png=b"image", a__cls=b"1", b__cls=b"2")
    content = shard.read_bytes()
    shard.write_bytes(
        {
            "cut": content[:1000],
            "cut at a block": content[:1024],
            "gzip": gzip.compress(content),
            "no tar": b"<html>not found</html>" * 99,
            "empty": b"",
        }[damage]
    )
    with pytest.raises(ValueError, match=r"without-length/0\.tar is not a whole tar file"):
        fetch_shard(f"{site[1]}/without-length/0.tar", "t", quiet=True)
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_a_cached_shard_that_is_cut_is_fetched_again(site, caplog):
    shard = write_tar(site[0] / "0.tar", a__png=b"image", a__cls=b"1")
    url = f"{site[1]}/0.tar"
    for damaged in (shard.read_bytes()[:1024], shard.read_bytes()[:-7], b""):
        cached(url).parent.mkdir(parents=True, exist_ok=True)
        cached(url).write_bytes(damaged)
        assert fetch_shard(url, quiet=True).read_bytes() == shard.read_bytes()
    assert len(caplog.messages) == 3 and str(cached(url)) in caplog.messages[0]


@pytest.mark.parametrize("bound", ["constant", "free space", "announced"])
def test_an_endless_shard_is_bounded(site, cache, monkeypatch, bound):
    url = f"{site[1]}/endless.tar"
    if bound == "constant":
        monkeypatch.setattr(download, "MAX_TAR", 10**6)
    else:
        usage = SimpleNamespace(free=500 if bound == "announced" else 10**6)
        monkeypatch.setattr(download.shutil, "disk_usage", lambda folder: usage)
        url = f"{site[1]}/short.tar" if bound == "announced" else url
    with pytest.raises(ValueError, match=r"\.tar has more than (1,000,000|500) bytes"):
        fetch_shard(url, quiet=True)
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_no_link_of_somebody_else_is_followed(site, cache, tmp_path, monkeypatch):
    write_tar(site[0] / "0.tar", a__png=b"image", a__cls=b"1")
    url, secret = f"{site[1]}/0.tar", tmp_path / "secret"
    secret.write_text("keep")
    cached(url).parent.mkdir(parents=True)
    monkeypatch.setattr("open_clip_mmrl.utils.files.secrets.token_hex", lambda count: "guessed")
    cached(url).with_name(".0.tar.guessed").symlink_to(secret)
    with pytest.raises(OSError, match=r"cannot write .*0\.tar: File exists"):
        fetch_shard(url, quiet=True)
    assert secret.read_text() == "keep"


def test_leftovers_of_killed_downloads_are_removed(site, cache):
    write_tar(site[0] / "0.tar", a__png=b"image", a__cls=b"1")
    url = f"{site[1]}/0.tar"
    cached(url).parent.mkdir(parents=True)
    cached(url).with_name(".0.tar.0123abcd").write_bytes(b"x")
    assert [entry.name for entry in fetch_shard(url, quiet=True).parent.iterdir()] == ["0.tar"]


def test_a_shard_that_is_cut_short_leaves_nothing(site, cache):
    with pytest.raises(
        ValueError, match=r"short\.tar cannot be fetched: .*10 bytes read, 990 more"
    ):
        fetch_shard(f"{site[1]}/short.tar", "train", quiet=True)
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_a_cache_that_cannot_be_written_is_named(site, cache):
    (site[0] / "0.tar").write_bytes(b"x")
    cache.write_text("a file")
    with pytest.raises(OSError, match=r"cannot write .*cache.*0\.tar: "):
        fetch_shard(f"{site[1]}/0.tar", "train", quiet=True)


def test_addresses_keep_apart_in_the_cache(cache, monkeypatch):
    long = "https://host/" + "a/" * 200
    urls = ["http://host/a/0.tar", "http://host:80/a/0.tar", "http://host/a-/0.tar", f"{long}0.tar"]
    paths = {cached(url) for url in urls}
    assert len(paths) == 4
    assert all(path.parent.parent == cache and len(path.parent.name) < 100 for path in paths)
    monkeypatch.delenv("OPEN_CLIP_MMRL_CACHE")
    home = Path("~/.cache/open_clip_mmrl").expanduser()
    assert all(cached(url).parent.parent == home for url in urls)


def test_a_layout_at_an_address_is_read_without_its_shards(site):
    folder, address, log = site
    write_root(folder, ("cat", "dog"), ["a {c}."], train=[0] * 7, test=[1])
    layout = read_layout(f"{address}/")
    assert (layout.root, layout.class_names) == (f"{address}/", ("cat", "dog"))
    assert layout.templates == ("a {c}.",) and layout.kind == "classification"
    assert splits_of(layout) == ["train", "test"]
    assert shard_urls(layout, "train") == [f"{address}/train/{i}.tar" for i in range(3)]
    assert not any(path.endswith(".tar") for path in log)
    with pytest.raises(ValueError, match="no split 'val'; splits there: train, test"):
        shard_urls(layout, "val")


def test_the_hub_has_one_address_for_texts_and_another_for_shards(monkeypatch):
    fetched = []

    def fetch(url):
        fetched.append(url)
        return "2"

    monkeypatch.setattr("open_clip_mmrl.data.shards.index.fetch_text", fetch)  # no network in tests
    hub = "https://huggingface.co/datasets/user/wds_x"
    urls = shard_urls(read_layout(f"{hub}/tree/main/"), "test")
    assert urls == [f"{hub}/resolve/main/test/0.tar", f"{hub}/resolve/main/test/1.tar"]
    assert (
        f"{hub}/raw/main/test/nshards.txt" in fetched
        and f"{hub}/raw/main/classnames.txt" in fetched
    )
