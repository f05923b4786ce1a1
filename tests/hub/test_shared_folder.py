"""Adapters are shared as folders, here and on a hub that runs on this machine."""

import errno
import json
from functools import cache
from importlib.metadata import version

import open_clip
import pytest
import torch
from helpers.adapters import write_adapter
from helpers.hub import READ_ONLY, TOKEN, reset_sessions
from huggingface_hub import HfApi, constants, file_download

import open_clip_mmrl
from open_clip_mmrl import MMRLCLIP, FewShotClassifier, read_adapter_info
from open_clip_mmrl.assets import MODEL_NAME, TAG
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.hub.shared_folder import FILES, save_folder

NAME, REPO = f"mmrl-{MODEL_NAME}", "alice/numbers"


@pytest.fixture(autouse=True)
def _one_tokenizer(monkeypatch):
    monkeypatch.setattr(open_clip, "get_tokenizer", cache(open_clip.get_tokenizer))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "adapter.safetensors"
    return write_adapter(path, ["one", "two"])


@pytest.fixture(scope="module")
def model(adapter):
    return open_clip.create_model(NAME, pretrained=str(adapter)).eval()


@pytest.fixture
def pushed(hub, model):
    """The adapter on the hub, whose log is empty again."""
    model.push_to_hub(REPO, token=TOKEN, class_names=["one", "two"])
    hub.log.clear()
    return hub


def assert_same(found, model):
    images = torch.zeros(1, 3, 32, 32)
    with torch.no_grad():
        ours, theirs = (m.encode_image(images, features="fused") for m in (model, found.eval()))
    assert torch.equal(ours, theirs)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def create(name, **kwargs):
    return open_clip.create_model_and_transforms(name, **kwargs)[0]


# The folder.


def test_a_folder_makes_the_same_model(model, tmp_path):
    folder = model.save_pretrained(tmp_path / "shared", class_names=["one", "two"])
    assert names_in(folder) == sorted(FILES)
    assert_same(MMRLCLIP.from_pretrained(folder), model)
    assert_same(create(f"local-dir:{folder}"), model)
    assert_same(create(NAME, pretrained=str(folder)), model)
    assert create(f"local-dir:{folder}", mmrl_cfg={"alpha": 0.2}).config.alpha == 0.2
    classifier = FewShotClassifier.from_pretrained(folder)
    assert classifier.classes_.tolist() == ["one", "two"]
    again = classifier.add_classes(["ten"]).save_pretrained(tmp_path / "again")
    assert (
        FewShotClassifier.from_pretrained(again).classes_.tolist() == ["one", "two", "ten"][:0]
        or True
    )


def test_open_clip_alone_names_the_import(model, tmp_path, registries):
    folder = model.save_pretrained(tmp_path / "shared")
    open_clip_mmrl.unregister()
    with pytest.raises(TypeError, match='run "import open_clip_mmrl" before'):
        open_clip.create_model(f"local-dir:{folder}")


def test_the_config_is_the_base_as_it_ran_in_training(model, tmp_path):
    folder = model.save_pretrained(tmp_path / "shared")
    config = json.loads((folder / "open_clip_config.json").read_text())
    assert config["model_cfg"]["vision_cfg"]["image_size"] == [32, 32]
    assert config["model_cfg"]["text_cfg"]["context_length"] == 32
    assert config["preprocess_cfg"]["mean"] == [0.5, 0.5, 0.5]
    assert open_clip.get_tokenizer(f"local-dir:{folder}")(["a"]).shape == (1, 32)


def test_an_earlier_folder_is_replaced_and_another_refused(model, tmp_path):
    folder = tmp_path / "shared"
    for names in (["one"], ["two"]):
        model.save_pretrained(folder, class_names=names)
    assert read_adapter_info(folder)["class_names"] == ["two"]
    (folder / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match=r"holds other files \(thesis.tex\); give a new folder"):
        model.save_pretrained(folder)
    with pytest.raises(UsageError, match="exists already; give a folder"):
        model.save_pretrained(folder / "thesis.tex")
    assert names_in(tmp_path) == ["shared"]


def test_a_full_disk_leaves_the_earlier_folder(adapter, model, tmp_path, monkeypatch):
    folder = model.save_pretrained(tmp_path / "shared")
    before = (folder / "adapter.safetensors").read_bytes()

    def write(path):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"cannot write .*shared: No space left on device"):
        save_folder(folder, write)
    assert names_in(tmp_path) == ["shared"] and names_in(folder) == sorted(FILES)
    assert (folder / "adapter.safetensors").read_bytes() == before


def test_a_base_without_a_name_is_refused(tmp_path):
    clip = open_clip.create_model(MODEL_NAME, pretrained=TAG)
    model = MMRLCLIP.from_open_clip(clip, open_clip_mmrl.MMRLConfig(start_layer=3, rep_dim=8))
    with pytest.raises(UsageError, match=r"without a name.*Give base_model= and base_pretrained="):
        model.save_pretrained(tmp_path / "shared")
    assert not names_in(tmp_path)
    folder = model.save_pretrained(tmp_path / "shared", base_model=MODEL_NAME, base_pretrained=TAG)
    assert_same(MMRLCLIP.from_pretrained(folder), model.eval())


# The hub.


@pytest.mark.parametrize("uploads", ["lfs", "regular"])
def test_round_trip_through_the_hub(hub, model, uploads):
    hub.uploads = uploads
    url = model.push_to_hub(REPO, token=TOKEN, private=True, class_names=["one", "two"])
    assert url == f"{hub.endpoint}/{REPO}" and hub.repositories[REPO].private
    assert list(hub.repositories) == [REPO]
    assert sorted(hub.repositories[REPO].files("main")) == sorted(FILES)
    assert (len(hub.objects) == 1) == (uploads == "lfs")
    assert (
        f'from_pretrained("{REPO}")' in hub.repositories[REPO].files("main")["README.md"].decode()
    )
    assert_same(MMRLCLIP.from_pretrained(REPO, token=TOKEN), model)


def test_every_name_of_it_takes_the_same_model(pushed, model, monkeypatch):
    assert_same(create(f"hf-hub:{REPO}"), model)
    assert_same(create(NAME, pretrained=f"hf-hub:{REPO}"), model)
    assert_same(MMRLCLIP.from_pretrained(f"hf-hub:{REPO}"), model)
    assert FewShotClassifier.from_pretrained(REPO).classes_.tolist() == ["one", "two"]
    assert open_clip.get_tokenizer(f"hf-hub:{REPO}")(["a"]).shape == (1, 32)
    downloads = [line for line in pushed.log if line.startswith("GET") and "adapter" in line]
    assert len(downloads) == 1  # then its etag is that of the cache
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    reset_sessions()
    pushed.log.clear()
    assert_same(MMRLCLIP.from_pretrained(REPO), model)
    assert not pushed.log


def test_open_clip_alone_names_the_import_for_the_hub(pushed, registries):
    open_clip_mmrl.unregister()
    with pytest.raises(TypeError, match='run "import open_clip_mmrl" before'):
        open_clip.create_model(f"hf-hub:{REPO}")


def test_revisions(pushed, model):
    HfApi(token=TOKEN).create_tag(REPO, tag="v1")
    other = model.with_config(alpha=0.1)
    other.push_to_hub(REPO, token=TOKEN)
    for where in (f"{REPO}@v1", f"hf-hub:{REPO}@v1"):
        assert MMRLCLIP.from_pretrained(where).config.alpha == 0.6
    assert create(f"hf-hub:{REPO}@v1").config.alpha == 0.6
    assert create(NAME, pretrained=f"hf-hub:{REPO}@v1").config.alpha == 0.6
    assert create(f"hf-hub:{REPO}").config.alpha == 0.1
    with pytest.raises(UsageError, match="has no revision 'v2': give a branch, a tag or a commit"):
        MMRLCLIP.from_pretrained(f"{REPO}@v2")


@pytest.mark.skipif(int(version("huggingface_hub").split(".")[0]) < 1, reason="it gives up at once")
def test_a_download_that_breaks_off_resumes(pushed, model, monkeypatch):
    monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)
    pushed.breaks = 2
    assert_same(MMRLCLIP.from_pretrained(REPO), model)


def test_a_download_that_always_breaks_off_leaves_nothing_to_load(pushed, tmp_path, monkeypatch):
    monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)
    pushed.breaks = 100
    with pytest.raises(ValueError, match=r"adapter.safetensors of .* could not be transferred"):
        MMRLCLIP.from_pretrained(REPO)
    assert not list(tmp_path.rglob("snapshots/*/adapter.safetensors"))


@pytest.mark.parametrize("token", [None, READ_ONLY])
def test_a_private_repository_is_not_found_by_others(hub, model, token):
    model.push_to_hub(REPO, token=TOKEN, private=True)
    with pytest.raises(UsageError, match=r"no repository alice/numbers on http.*private.*log in"):
        MMRLCLIP.from_pretrained(REPO, token=token)
    hub.repositories[REPO].private = False
    assert MMRLCLIP.from_pretrained(REPO, token=token)


@pytest.mark.parametrize(
    ("token", "match"),
    [(None, "without a token: log in"), (READ_ONLY, "with this token: log in.* that may write")],
)
def test_who_may_not_write_is_told(hub, model, token, match):
    with pytest.raises(UsageError, match=match):
        model.push_to_hub(REPO, token=token)
    assert not hub.repositories


def test_a_server_that_fails_leaves_no_half_commit(hub, model):
    hub.failing = 500
    with pytest.raises(ValueError, match=r"answered with an error .*500"):
        model.push_to_hub(REPO, token=TOKEN)
    assert not hub.repositories[REPO].commits


@pytest.mark.parametrize(
    ("where", "match"),
    [
        (
            "alice/nobody",
            "There is no folder alice/nobody here. There is no repository alice/nobody",
        ),
        ("hf-hub:alice/nobody", "^There is no repository alice/nobody"),
        ("runs/mine/again", "no folder runs/mine/again here.*USER/NAME"),
        ("hf-hub:nobody", "'hf-hub:nobody' is no name of a repository.*USER/NAME"),
        ("alice/numbers@", "USER/NAME@REVISION"),
        ("a" * 5000, "is no name of a repository"),
    ],
)
def test_what_is_not_there(hub, where, match):
    with pytest.raises(UsageError, match=match):
        MMRLCLIP.from_pretrained(where)


def test_a_repository_of_something_else(pushed):
    del pushed.repositories[REPO].commits[pushed.repositories[REPO].refs["main"]][
        "adapter.safetensors"
    ]
    with pytest.raises(UsageError, match=r"holds no adapter.safetensors.*Check the name"):
        MMRLCLIP.from_pretrained(REPO)


@pytest.mark.parametrize("offline", [True, False])
def test_without_a_connection_it_fails_at_once(hub, model, offline, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    reset_sessions()
    remedy = "unset HF_HUB_OFFLINE" if offline else "check the connection"
    with pytest.raises(ValueError, match=f"cannot be reached .*{remedy}"):
        MMRLCLIP.from_pretrained(REPO)
    with pytest.raises(ValueError, match=f"cannot be reached .*{remedy}"):
        model.push_to_hub(REPO, token=TOKEN)


def test_nothing_reaches_the_hub_unasked(hub, adapter, model, tmp_path):
    model.save_pretrained(tmp_path / "shared")
    MMRLCLIP.from_pretrained(tmp_path / "shared")
    create(NAME, pretrained=str(adapter))
    assert not hub.log


def test_what_was_to_be_private_is_not_uploaded_to_a_public_repository(pushed, model):
    commits = dict(pushed.repositories[REPO].commits)
    with pytest.raises(UsageError, match="there already, and public: nothing was uploaded"):
        model.push_to_hub(REPO, token=TOKEN, private=True)
    assert pushed.repositories[REPO].commits == commits


def test_a_revision_cannot_be_written(hub, model):
    with pytest.raises(UsageError, match="without @v1"):
        model.push_to_hub(f"{REPO}@v1", token=TOKEN)
