import pytest
from helpers.runs import make_run

from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.experiments.run_spec import FewShotRun, dataset_name, training_key


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("coop:dtd", "dtd"),
        ("digits", "digits"),
        ("folder:/data/birds/", "birds"),
        ("folder:C:\\data\\birds", "birds"),
        ("wds:https://host/sets/cars", "cars"),
        ("clip_benchmark:vtab/pets", "pets"),
    ],
)
def test_short_names(spec, name):
    assert dataset_name(spec) == name


def test_the_protocol_follows_from_the_classes_unless_it_is_given():
    assert make_run().protocol == "base-to-novel"
    assert make_run(classes="all").protocol == "few-shot"
    assert make_run(protocol="ablation").protocol == "ablation"


def test_a_run_survives_json():
    run = make_run(
        targets=("digits",), ablation={"sweep": "alpha", "value": 0.3}, protocol="ablation"
    )
    again = FewShotRun.from_dict({**run.to_dict(), "train_images": "a digest"})
    assert again == run


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": "novel"}, "classes is 'novel'; a run trains on 'all' or 'base'"),
        ({"test_split": "train"}, "test_split is 'train'; it has to be 'test' or 'val'"),
        ({"method": "cocoop"}, "method is 'cocoop'; it has to be one of"),
        ({"protocol": "zero"}, "protocol is 'zero'; it has to be one of"),
        ({"protocol": "few-shot"}, "few-shot does not train on 'base' classes"),
        ({"protocol": "ablation", "classes": "all"}, "ablation does not train on 'all' classes"),
    ],
)
def test_wrong_words_are_named(changes, message):
    with pytest.raises(UsageError, match=message):
        make_run(**changes)


def test_the_training_key_forgets_what_only_testing_looks_at():
    run = make_run(settings={"start_layer": 5, "rep_dim": 16})
    same = [
        {"fusion": "probabilities"},
        {"test_split": "test"},
        {"protocol": "ablation", "ablation": {"sweep": "variant", "value": "w/o DS1"}},
        {"settings_source": "fixed"},
        {"settings": {"start_layer": 5, "rep_dim": 16, "alpha": 0.7}},  # the default, given
    ]
    for changes in same:
        assert training_key(run.replace(**changes)) == training_key(run)
    other = [
        {"shots": 3},
        {"settings": {"start_layer": 5, "rep_dim": 16, "alpha": 0.5}},
        {"settings_source": "validation"},
        {"data": "scrawl"},
    ]
    for changes in other:
        assert training_key(run.replace(**changes)) != training_key(run)
