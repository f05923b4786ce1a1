"""The scikit-learn face, on the shipped tiny CLIP and real digits."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from open_clip_mmrl import FewShotClassifier, MMRLConfig, TrainConfig
from open_clip_mmrl.assets import MODEL_NAME, TAG
from open_clip_mmrl.data import load_data
from open_clip_mmrl.data.loading.images import eval_transform

NAMES = ["zero", "one", "two"]
SHORT = {"settings": {"rep_dim": 8, "start_layer": 5}, "train": {"epochs": 3, "batch_size": 6}}


@pytest.fixture(scope="module")
def digits():
    data = load_data("digits").few_shot(4, seed=1)
    chosen = [e for e in data.train if e.label < 3]
    test = [e for e in data.test if e.label < 3][:30]
    return ([e.image for e in chosen], [e.label for e in chosen]), (
        [e.image for e in test],
        [e.label for e in test],
    )


def classifier(**changes):
    values = {"class_names": NAMES, "template": "a photo of the digit {}.", "device": "cpu"}
    return FewShotClassifier(f"mmrl-{MODEL_NAME}", TAG, **{**values, **SHORT, **changes})


@pytest.fixture(scope="module")
def fitted(digits):
    return classifier().fit(*digits[0])


def test_fit_predict_score(fitted, digits):
    images, labels = digits[1]
    probabilities = fitted.predict_proba(images)
    assert probabilities.shape == (30, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    predicted = fitted.predict(images)
    np.testing.assert_array_equal(predicted, probabilities.argmax(axis=1))
    assert fitted.score(images, labels) == np.mean(predicted == labels)
    np.testing.assert_array_equal(fitted.classes_, [0, 1, 2])


def test_files_and_pillow_images_of_all_kinds_are_read_alike(fitted, digits, tmp_path):
    gray = np.array(digits[1][0][0])
    gray = gray if gray.ndim == 2 else gray[:, :, 0]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    kinds = {
        "plain.png": (Image.fromarray(gray), {}),
        "wide.png": (Image.fromarray(gray.astype(np.uint16) * 257), {}),
        "phone.png": (Image.fromarray(np.ascontiguousarray(np.rot90(gray))), {"exif": exif}),
    }
    for name, (image, options) in kinds.items():
        image.save(tmp_path / name, **options)
    paths = [str(tmp_path / name) for name in kinds]
    expected = fitted.predict_proba([gray] * 3)
    np.testing.assert_array_equal(fitted.predict_proba(paths), expected)
    opened = [Image.open(path) for path in paths]
    np.testing.assert_array_equal(fitted.predict_proba(opened), expected)


def test_images_that_cannot_be_read_are_all_named(fitted, digits, tmp_path):
    (tmp_path / "a.png").write_text("hello")
    paths = [tmp_path / "a.png", tmp_path / "gone.png"]
    for call in (fitted.predict, lambda images: classifier().fit(images, [0, 1])):
        with pytest.raises(ValueError, match=r"2 of 2 images.*a\.png.*gone\.png"):
            call(paths)


def test_train_takes_fields_or_a_whole_config(digits):
    rest = {"lr": 2e-3, "batch_size": 32, "epochs": 1}
    both = [classifier(train=t).fit(*digits[0]) for t in (rest, TrainConfig(**rest))]
    first, second = (c.predict_proba(digits[1][0]) for c in both)
    np.testing.assert_array_equal(first, second)


def test_config_is_another_name_of_settings(fitted, digits):
    settings = SHORT["settings"]
    images = digits[1][0][:4]
    for given in (settings, MMRLConfig(**settings)):
        other = classifier(settings=None, config=given).fit(*digits[0])
        np.testing.assert_array_equal(other.predict_proba(images), fitted.predict_proba(images))
    with pytest.raises(ValueError, match="config and settings are two names"):
        classifier(config=settings).fit(*digits[0])


def test_fusions_differ_and_mix_by_their_formulas(fitted, digits):
    images = digits[1][0][:4]
    shown = torch.stack([eval_transform(fitted.model_)(
        Image.fromarray(i).convert("RGB")) for i in images])  # fmt: skip
    model, text = fitted.model_, fitted._fitted.ranking.classifier.text
    with torch.no_grad():
        parts = [
            model.logit_scale.exp() * model.encode_image(shown, True, features=kind) @ text.T
            for kind in ("class", "representation")
        ]
    alpha = model.config.alpha
    mixed = alpha * parts[0].softmax(1) + (1 - alpha) * parts[1].softmax(1)
    logits = (alpha * parts[0] + (1 - alpha) * parts[1]).softmax(1)
    np.testing.assert_allclose(fitted.predict_proba(images), mixed, atol=1e-5)
    np.testing.assert_allclose(fitted.predict_proba(images, fusion="logits"), logits, atol=1e-5)


def test_the_same_seed_gives_the_same_probabilities(fitted, digits):
    again = classifier().fit(*digits[0])
    images = digits[1][0]
    np.testing.assert_array_equal(again.predict_proba(images), fitted.predict_proba(images))


def test_labels_may_be_names(digits):
    (images, labels), (unseen, _) = digits
    names = [NAMES[i] for i in labels]
    by_name = classifier(class_names=None).fit(images, names)
    assert list(by_name.classes_) == sorted(NAMES)
    assert set(by_name.predict(unseen)) <= set(NAMES)
    same = classifier().fit(images, names)
    assert list(same.classes_) == sorted(NAMES)
    np.testing.assert_array_equal(same.predict_proba(unseen), by_name.predict_proba(unseen))


def test_images_may_be_files_pictures_and_arrays(fitted, digits, tmp_path):
    array = digits[1][0][0]
    path = tmp_path / "digit.png"
    Image.fromarray(array).save(path)
    kinds = [array, np.stack([array] * 3, axis=-1), Image.fromarray(array), path, str(path)]
    rows = fitted.predict_proba([*kinds, torch.from_numpy(array)])
    assert np.ptp(rows, axis=0).max() < 1e-6


def test_scikit_learn_can_clone_it_and_read_its_parameters():
    copy = clone(classifier(method="mmrl++"))
    assert copy.get_params()["method"] == "mmrl++" and copy.class_names == NAMES
    assert copy.set_params(quiet=False).quiet is False


def test_save_and_load_give_the_same_answers(fitted, digits, tmp_path):
    path = fitted.save(tmp_path / "a.safetensors")
    images = digits[1][0]
    loaded = FewShotClassifier.load(path, device="cpu")
    np.testing.assert_array_equal(loaded.classes_, fitted.classes_)
    np.testing.assert_array_equal(loaded.predict_proba(images), fitted.predict_proba(images))
    by_name = FewShotClassifier.from_adapter(path, device="cpu")
    assert list(by_name.classes_) == sorted(NAMES)  # scikit-learn's tools expect them sorted
    names = [NAMES[i] for i in fitted.predict(images)]
    np.testing.assert_array_equal(by_name.predict(images), names)


def test_wrong_input_is_named(digits, fitted):
    (images, labels), _ = digits
    with pytest.raises(NotFittedError):
        classifier().predict(images)
    with pytest.raises(ValueError, match="12 images and 11 labels"):
        classifier().fit(images, labels[:-1])
    with pytest.raises(ValueError, match=r"labels are numbers.*class_names"):
        classifier(class_names=None).fit(images, labels)
    with pytest.raises(ValueError, match="labels not among the 2 classes: 2"):
        classifier(class_names=NAMES[:2]).fit(images, labels)
    with pytest.raises(ValueError, match="two or more different names"):
        classifier(class_names=["a", "a", "b"]).fit(images, labels)
    with pytest.raises(ValueError, match="fusion is 'mean'"):
        fitted.predict_proba(images, fusion="mean")
    with pytest.raises(ValueError, match="float64"):
        classifier().fit([i / 16.0 for i in images], labels)
    with pytest.raises(ValueError, match=r"no field 'epoch'.*Did you mean epochs"):
        classifier(train={"epoch": 1}).fit(images, labels)


class Refit(Exception):  # noqa: N818
    pass


@pytest.mark.parametrize("fails", ["names", "image", "training", "scoring"])
def test_a_fit_that_fails_leaves_the_one_before(monkeypatch, digits, fails, tmp_path):
    """Classes, weights and what is saved are those of one fit, whatever the parameters now."""
    (images, labels), (unseen, _) = digits
    model = classifier(train={"epochs": 1}).fit(images, labels)
    expected = model.predict_proba(unseen)
    before = model.save(tmp_path / "before.safetensors").read_bytes()

    def fail(*args, **kwargs):
        raise Refit

    others = ["Cat", "cat", "dog"] if fails == "names" else ["cat", "dog", "bird"]
    model.set_params(class_names=others, template="the {}.", train={"precision": "bf16"})
    if fails == "training":
        monkeypatch.setattr("open_clip_mmrl.training.trainer.Trainer.fit", fail)
    elif fails == "scoring":
        monkeypatch.setattr("open_clip_mmrl.classifier.fitted.build_classifier", fail)
    elif fails == "image":
        images = [*images[:-1], tmp_path / "missing.png"]
    with pytest.raises((ValueError, Refit)):
        model.fit(images, labels)
    assert list(model.classes_) == [0, 1, 2]
    np.testing.assert_array_equal(model.predict_proba(unseen), expected)
    assert model.save(tmp_path / "after.safetensors").read_bytes() == before


def test_a_single_image_is_refused_everywhere(fitted, tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(path)
    for image in (str(path), path, Image.open(path), np.asarray(Image.open(path))):
        for call in (fitted.predict, fitted.predict_proba, lambda x: classifier().fit(x, [0])):
            with pytest.raises(ValueError, match=r"X is a single .*give a list"):
                call(image)
        assert len(fitted.predict([image])) == 1
