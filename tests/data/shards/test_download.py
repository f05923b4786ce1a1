from pathlib import Path

import pytest
from helpers.shards import write_root
from helpers.site import serve

from open_clip_mmrl.data.shards import download
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
    with pytest.raises(ValueError, match=r"elsewhere cannot be fetched: .*file:///etc/hostname"):
        fetch_text(f"{site[1]}/elsewhere")


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
    content = bytes(range(256)) * 9000  # more than two chunks
    (folder / "train").mkdir()
    (folder / "train" / "0.tar").write_bytes(content)
    url = f"{address}/train/0.tar"
    path = fetch_shard(url, "train", quiet=True)
    assert path.read_bytes() == content and path.is_relative_to(cache)
    assert [entry.name for entry in path.parent.iterdir()] == ["0.tar"]
    assert fetch_shard(url, "train", quiet=True) == path == cached(url)
    assert log == ["/train/0.tar"]
    other = fetch_shard(url, "train", folder=cache / "other", quiet=True)
    assert other.read_bytes() == content and other.is_relative_to(cache / "other")


def test_a_shard_of_unknown_length_is_fetched(site):
    assert fetch_shard(f"{site[1]}/endless.tar", "t", quiet=True).read_bytes() == b"x" * 10


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
