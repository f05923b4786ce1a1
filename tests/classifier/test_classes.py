"""Classes added by name and removed, training that goes on, and what files keep of it."""

import copy
import pickle
import random

import joblib
import numpy as np
import open_clip
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits

from open_clip_mmrl import FewShotClassifier, read_adapter_info, save_adapter
from open_clip_mmrl.data.example import Example
from open_clip_mmrl.data.loading.images import ImageSet, eval_transform, in_order, loader
from open_clip_mmrl.evaluation.answers import ranking
from open_clip_mmrl.hub.load import build_from_adapter


def same(one, other, few):
    np.testing.assert_array_equal(one.classes_, other.classes_)
    np.testing.assert_array_equal(one.class_names_, other.class_names_)
    np.testing.assert_array_equal(
        one.predict_proba(few.X_test[:9]), other.predict_proba(few.X_test[:9])
    )


def test_an_added_class_is_ranked_as_predict_ranks_it(make, few, tmp_path):
    model = make(class_names=None).fit(few.X, np.array(["zero", "one", "two"])[few.y])
    before = model.predict_proba(few.X_test[:9])
    assert model.add_classes(["nine"]) is model
    assert list(model.classes_) == ["nine", "one", "two", "zero"]
    found = model.predict_proba(few.X_test[:9])
    path = model.save(tmp_path / "a.safetensors")
    loaded, info = build_from_adapter(path, device=torch.device("cpu"))
    assert info.class_names == ["one", "two", "zero"]
    ranked = ranking(loaded, info, ["nine"])
    pixels = (few.X_test[:9] * 255).round().astype(np.uint8)
    shown = ImageSet([Example(image=p, label=0) for p in pixels], eval_transform(loaded.model))
    ((images, _),) = loader(shown, in_order(9))
    columns = [ranked.names.index(name) for name in model.classes_]
    np.testing.assert_allclose(found, ranked.probabilities(images)[:, columns], atol=1e-6)
    model.remove_classes(["nine"])
    np.testing.assert_array_equal(model.predict_proba(few.X_test[:9]), before)


def test_added_classes_are_answered_and_scored(fitted, few):
    model = copy.deepcopy(fitted).add_classes({9: "nine"}).remove_classes([0, "two"])
    assert list(model.classes_) == [1, 9] and list(model.class_names_) == ["one", "nine"]
    assert model.score(few.X_test[few.y_test == 1], [1] * sum(few.y_test == 1)) > 0.5
    model.add_classes(["three", "zero"])  # the next numbers
    assert list(model.classes_) == [1, 9, 10, 11]
    assert model._fitted.ranking.seen == (True, False, False, True)  # zero was trained
    assert list(fitted.classes_) == [0, 1, 2]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["two"], "classes of this label or name already: two"),
        (["Two"], "same prompt .*'Two' reads like 'two'"),
        ({1: "nine"}, "already: nine"),
        ({"n": "nine"}, "the labels so far are 0, 1, 2"),
        ("nine", "give a list of names"),
        ([], "no classes to add"),
        ([" "], "has to be a text"),
        (["nine", "nine"], "'nine' 2 times"),
        (["nine " * 99], "context"),
    ],
)
def test_classes_that_cannot_be_added(given, message, fitted, few):
    before = fitted.predict_proba(few.X_test[:2])
    with pytest.raises(ValueError, match=message):
        fitted.add_classes(given)
    np.testing.assert_array_equal(fitted.predict_proba(few.X_test[:2]), before)


@pytest.mark.parametrize(
    ("given", "message"),
    [([3], "no class 3 among zero, one, two"), ([0, 1], "two or more"), ("zero", "give a list")],
)
def test_classes_that_cannot_be_removed(given, message, fitted):
    with pytest.raises(ValueError, match=message):
        fitted.remove_classes(given)


def changed(fitted):
    return copy.deepcopy(fitted).add_classes({9: "nine"}).remove_classes([0])


@pytest.mark.parametrize("change", [lambda model: model, changed])
def test_files_keep_labels_and_say_what_was_trained(change, fitted, few, tmp_path):
    model = change(fitted)
    path = model.save(tmp_path / "a.safetensors")
    assert read_adapter_info(path)["class_names"] == ["zero", "one", "two"]
    loaded = FewShotClassifier.load(path, device="cpu")
    same(loaded, model, few)
    assert loaded.save(tmp_path / "b.safetensors").read_bytes() == path.read_bytes()
    by_name = FewShotClassifier.from_adapter(path, device="cpu")
    assert list(by_name.classes_) == ["one", "two", "zero"]


def test_names_as_labels_need_no_room_in_the_file(make, few, tmp_path):
    model = make(class_names=None).fit(few.X, np.array(["zero", "one", "two"])[few.y])
    assert read_adapter_info(model.save(tmp_path / "a.safetensors"))["settings"] == {}


@pytest.mark.parametrize(
    "stored",
    [
        3,
        {},
        {"labels": [0], "class_names": ["a", "b"]},
        {"labels": [[]], "class_names": ["a"]},
        {"labels": [0, 0], "class_names": ["a", "b"]},
        {"labels": [0, "b"], "class_names": ["a", "b"]},
    ],
)
def test_labels_of_a_file_are_checked(stored, fitted, tmp_path):
    path = save_adapter(
        fitted.model_,
        tmp_path / "a.safetensors",
        class_names=["zero", "one"],
        settings={"classifier": stored},
    )
    with pytest.raises(
        ValueError, match=r"a\.safetensors has labels of a classifier.*from_adapter"
    ):
        FewShotClassifier.load(path, device="cpu")
    assert list(FewShotClassifier.from_adapter(path, device="cpu").classes_) == ["one", "zero"]


def test_a_pickle_holds_the_adapter_and_loads_the_base_again(fitted, few, tmp_path):
    model = changed(fitted)
    size = model.save(tmp_path / "a.safetensors").stat().st_size
    joblib.dump(model, tmp_path / "a.joblib")
    assert (tmp_path / "a.joblib").stat().st_size < 1.1 * size + 2000
    for other in (
        joblib.load(tmp_path / "a.joblib"),
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
    ):
        same(other, model, few)
        assert other.get_params() == model.get_params() and other.model_ is not model.model_
    unfitted = pickle.loads(pickle.dumps(clone(model)))
    assert vars(unfitted) == model.get_params(deep=False)  # what was added is forgotten


@pytest.mark.parametrize(
    "change",
    [
        lambda packed: None,
        lambda packed: {"adapter": packed["adapter"]},
        lambda packed: {**packed, "adapter": packed["adapter"][:-9]},
    ],
)
def test_a_damaged_pickle_is_one_error(fitted, change):
    state = fitted.__getstate__()
    state["_fitted"] = change(state["_fitted"])
    with pytest.raises(ValueError, match="a pickled classifier cannot be loaded") as error:
        FewShotClassifier.__new__(FewShotClassifier).__setstate__(state)
    assert "/adapter.safetensors" not in str(error.value)


def test_a_pickle_finds_a_base_given_by_its_file(make, few, tmp_path):
    base = open_clip.create_model("ViT-Ti-8-glyphs", "printed")
    path = tmp_path / "base.pt"
    torch.save(base.state_dict(), path)
    model = make(pretrained=str(path)).fit(few.X, few.y)
    packed = pickle.dumps(model)
    same(pickle.loads(packed), model, few)
    path.unlink()
    with pytest.raises(ValueError, match=r"base\.pt, which are neither a tag nor a file"):
        pickle.loads(packed)


def digits_of(*classes):
    digits = load_digits()
    rows = np.concatenate([np.flatnonzero(digits.target == c)[:8] for c in classes])
    return digits.images[rows] / 16, digits.target[rows]


def test_warm_start_continues_with_more_classes(fitted, few):
    names = ("zero", "one", "two", "three", "four", "five")
    model = copy.deepcopy(fitted).add_classes({5: "five"})
    model.set_params(class_names=names, warm_start=True, config__reg_weight=1.0)
    model.set_params(config__norm_weight=0.1, config__moment_weight=0.0)
    images, labels = digits_of(0, 3)
    first = model.model_
    before = {k: v.clone() for k, v in first.learner.state_dict().items()}
    model.fit(images, labels)
    assert list(model.classes_) == [0, 1, 2, 3, 5] and model._fitted.seen == {*names[:4]}
    assert model.score(images, labels) > 0.8
    for name, value in first.learner.state_dict().items():
        assert torch.equal(value, before[name])  # another model's, on the same base
    assert model.model_.visual is first.visual and model.model_.config.reg_weight == 1.0
    model.set_params(warm_start=False, class_names=names[:3], config__norm_weight=None)
    model.set_params(config__moment_weight=None).fit(few.X, few.y)
    again = clone(fitted).set_params(config__reg_weight=1.0).fit(few.X, few.y)
    np.testing.assert_array_equal(model.predict_proba(images), again.predict_proba(images))


def test_warm_start_continues_from_a_file_with_names(fitted, tmp_path):
    path = fitted.save(tmp_path / "a.safetensors")
    model = FewShotClassifier.from_adapter(path, device="cpu")
    images, labels = digits_of(1, 3)
    names = np.array(["zero", "one", "two", "three"])[labels]
    model.set_params(warm_start=True, train={"epochs": 1}).fit(images, names)
    assert list(model.classes_) == ["one", "three", "two", "zero"]
    saved = read_adapter_info(model.save(path))
    assert saved["class_names"] == ["zero", "one", "two", "three"] and saved["settings"] == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config__rep_dim": 4}, "other values of rep_dim"),
        ({"model": "ViT-B-16"}, "continues on the base of the fit before"),
        ({"pretrained": "other"}, "continues on the base of the fit before"),
        ({"class_names": ["one", "zero", "two"]}, "labels have to keep their names"),
        ({"class_names": {"a": "zero", "b": "one"}}, "the numbers 0, 1, 2|keep their names"),
    ],
)
def test_warm_start_refuses_what_it_cannot_continue(changes, message, fitted, few):
    model = copy.deepcopy(fitted).set_params(warm_start=True, **changes)
    with pytest.raises(ValueError, match=message):
        model.fit(few.X, few.y)
    same(model, fitted, few)


def random_states():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()


def test_no_random_state_of_others_is_moved(make, few, tmp_path):
    before = random_states()
    model = make(train={"epochs": 1}, warm_start=True).fit(few.X, few.y)
    model.set_params(train__augment="device").fit(few.X, few.y).add_classes(["nine"])
    FewShotClassifier.load(model.save(tmp_path / "a.safetensors"), device="cpu")
    copy.deepcopy(model)
    assert random_states() == before
