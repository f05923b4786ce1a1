from helpers.runs import make_run

from open_clip_mmrl.data import load_data
from open_clip_mmrl.experiments.tune.folds import folds

RUN = make_run(shots=4)


def test_each_image_of_a_class_that_is_trained_on_is_held_out():
    subset = load_data("digits").few_shot(4, 1).select("base")
    found = folds(subset, RUN)
    assert len(found) == 4 and all(fold.base_to_novel for fold in found)
    for fold in found:
        data = fold.data
        assert data.class_names == tuple(subset.class_names[label] for label in fold.labels)
        assert len(data.train) == 9 and len(fold.trained_on.test) == 3 and not data.val
        new = data.select("novel")  # classes that stand for new ones: all of their images
        assert len(new.test) == 8 and not new.train
        images = [example.image.tobytes() for example in data.train + data.test]
        assert sorted(images) == sorted(example.image.tobytes() for example in subset.train)
    for first, second in (found[:2], found[2:]):  # the halves are exchanged
        assert first.labels == second.labels[::-1]
        assert set(first.labels[:3]) | set(second.labels[:3]) == set(range(5))
    again = [fold.labels for fold in folds(subset, RUN)]
    assert found[0].labels != found[2].labels and again == [fold.labels for fold in found]


def test_all_classes_are_trained_on_where_none_will_be_new():
    run = RUN.replace(classes="all", protocol="few-shot")
    first, second = folds(load_data("digits").few_shot(4, 1), run)
    assert first.trained_on is first.data and first.labels == tuple(range(10))
    held_out = {example.image.tobytes() for example in first.data.test + second.data.test}
    assert len(held_out) == 40


def test_one_image_per_class_leaves_nothing_to_hold_out():
    assert folds(load_data("digits").few_shot(1, 1).select("base"), RUN) == []
