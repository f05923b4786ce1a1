from pathlib import PurePosixPath

import pytest

from open_clip_mmrl.assets import MODEL_NAME
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.experiments.experiment import Experiment, as_spec
from open_clip_mmrl.experiments.protocols import plan


def experiment(protocol="base-to-novel", **changes) -> Experiment:
    values = {"model": MODEL_NAME, "pretrained": None, "datasets": ["digits"], "seeds": (1, 2)}
    return Experiment(protocol=protocol, **{**values, **changes})


def folders(planned) -> list[str]:
    return [str(item.folder) for item in planned]


def test_base_to_novel_runs_every_method_with_every_seed_and_zero_shot_once():
    assert folders(plan(experiment())) == [
        "base-to-novel/digits/zeroshot",
        "base-to-novel/digits/linear_probe/16-shots-seed1",
        "base-to-novel/digits/linear_probe/16-shots-seed2",
        "base-to-novel/digits/mmrl/16-shots-seed1",
        "base-to-novel/digits/mmrl/16-shots-seed2",
        "base-to-novel/digits/mmrlpp/16-shots-seed1",
        "base-to-novel/digits/mmrlpp/16-shots-seed2",
    ]


def test_a_template_holds_for_every_run():
    planned = plan(experiment(template="a digit {}."))
    assert {item.run.template for item in planned} == {"a digit {}."}


def test_few_shot_takes_the_papers_shots_and_trains_on_all_classes():
    planned = plan(experiment("few-shot", methods=["mmrl"], seeds=(3,)))
    assert [item.run.shots for item in planned] == [1, 2, 4, 8, 16]
    assert {item.run.classes for item in planned} == {"all"}
    assert {item.run.train.epochs for item in planned} == {50}


def test_the_papers_data_sets_are_the_default():
    planned = plan(experiment(datasets=None, methods=["mmrl"], seeds=(1,), settings="paper"))
    assert len(planned) == 11
    by_data = {item.run.data: item.run for item in planned}
    assert by_data["coop:eurosat"].settings == {"reg_weight": 0.01, "rep_dim": 2048}
    assert by_data["coop:imagenet"].train.batch_size == 32


def test_transfer_trains_once_and_names_its_targets():
    (item,) = plan(experiment("cross-dataset", datasets=None, methods=["mmrl++"], seeds=(1,)))
    assert item.run.data == "coop:imagenet" and len(item.run.targets) == 10
    assert "coop:imagenet" not in item.run.targets and item.run.train.epochs == 1
    (item,) = plan(experiment("domain-generalization", datasets=None, methods=["mmrl"], seeds=(1,)))
    assert item.run.targets == (
        "coop:imagenetv2",
        "coop:imagenet_sketch",
        "coop:imagenet_a",
        "coop:imagenet_r",
    )
    (item,) = plan(
        experiment(
            "cross-dataset", datasets=["scrawl"], source="digits", methods=["mmrl"], seeds=(1,)
        )
    )
    assert (item.run.data, item.run.targets) == ("digits", ("scrawl",))
    methods = {item.run.method for item in plan(experiment("cross-dataset"))}
    assert methods == {"zeroshot", "linear_probe", "mmrl", "mmrl++"}


def test_an_ablation_trains_equal_points_once():
    planned = plan(experiment("ablation", seeds=(1,), sweeps=["variant", "alpha"]))
    by_point = {str(item.folder).split("/")[3]: item for item in planned}
    full = PurePosixPath("ablation/digits/mmrl/variant-full/16-shots-seed1")
    for point in ("variant-w_o_DS1", "variant-w_o_DS2", "alpha-0.7"):
        assert by_point[point].reuse_from == (full,)
    for point in ("variant-full", "variant-w_o_L", "alpha-0.3"):
        assert by_point[point].reuse_from == ()
    assert (
        not planned[0].reuse_from and planned[-1].reuse_from
    )  # those whose training is reused come first
    assert by_point["variant-w_o_RS"].run.settings == {"space": "independent"}


def test_what_has_no_say_in_a_baseline_does_not_change_its_folder_or_settings():
    """Else the same output folder would be refused as soon as seeds, shots or settings change."""
    methods = ["zeroshot", "linear_probe"]
    first = plan(experiment(methods=methods, seeds=(1,), shots=(4,)))
    changes = {"settings": "validation", "fusion": "probabilities", "overrides": {"lr": 0.1}}
    assert plan(experiment(methods=methods, seeds=(1,), shots=(4,), **changes)) == first
    (zeroshot,) = plan(experiment(methods=["zeroshot"], seeds=(2, 3), shots=(1, 16)))
    assert zeroshot == first[0]


def test_variants_that_a_method_cannot_have_are_left_out_of_its_default_sweep():
    planned = plan(experiment("ablation", methods=["mmrl++"], seeds=(1,), sweeps=["variant"]))
    values = [item.run.ablation["value"] for item in planned]
    assert sorted(values) == ["full", "w/o DS1", "w/o DS2", "w/o L", "w/o V"]
    both = plan(experiment("ablation", methods=["mmrl", "mmrl++"], seeds=(1,), sweeps=["variant"]))
    assert len(both) == 7 + 5
    with pytest.raises(UsageError, match=r"space is 'independent', but it has to be 'shared'"):
        plan(experiment("ablation", methods=["mmrl++"], sweeps=["variant"], values=["w/o RS"]))


def test_equal_numbers_have_one_folder():
    def point(value):
        return plan(experiment("ablation", seeds=(1,), sweeps=["reg_weight"], values=[value]))[
            0
        ].folder

    assert point(7) == point(7.0) and point(7).parts[-2] == "reg_weight-7"


def test_layers_that_the_model_has_not_are_left_out_of_the_default_sweep():
    planned = plan(experiment("ablation", seeds=(1,), sweeps=["start_layer"]))
    assert [item.run.settings["start_layer"] for item in planned] == [1, 2, 4, 6]


def test_values_and_overrides():
    planned = plan(
        experiment(
            "ablation",
            seeds=(1,),
            sweeps=["rep_dim"],
            values=[8, 16],
            overrides={"epochs": 2, "alpha": 0.6},
        )
    )
    assert [item.run.settings for item in planned] == [
        {"alpha": 0.6, "rep_dim": 8},
        {"alpha": 0.6, "rep_dim": 16},
    ]
    assert {item.run.train.epochs for item in planned} == {2}


def test_short_names_and_specs():
    assert as_spec("dtd") == "coop:dtd"
    assert as_spec("digits") == "digits" and as_spec("folder:x") == "folder:x"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocol": "fewshot"}, "protocol is 'fewshot'; it has to be one of"),
        ({"seeds": ()}, r"seeds is \[\]; give one or more different"),
        ({"shots": (4, 4)}, r"shots is \[4, 4\]; give one or more different"),
        ({"methods": ["cocoop"]}, "method 'cocoop' is not known; choose from zeroshot"),
        ({"datasets": ["dtd", "coop:dtd"]}, "given twice, or with the same name: dtd"),
        ({"sweeps": ["alpha"]}, "base-to-novel has no sweeps"),
        ({"overrides": {"alhpa": 1}}, "no setting 'alhpa'. Did you mean alpha"),
        ({"overrides": {"epoch": 1}}, "no setting 'epoch'. Did you mean epochs"),
        ({"datasets": ["digit"]}, "data set 'digit' is not known.*Did you mean digits"),
        ({"datasets": ["mine"], "data_root": "nowhere"}, "'mine' is not known, nor a folder"),
        ({"overrides": {"seed": 1}}, "the seeds with --seeds"),
        ({"overrides": {"variant": "mmrl"}}, "choose the variant with --methods"),
        ({"protocol": "ablation", "methods": ["zeroshot"]}, "zeroshot has nothing to ablate"),
        ({"protocol": "ablation", "sweeps": ["a"]}, "sweep is 'a'"),
        ({"protocol": "ablation", "values": [1]}, "values belong to one sweep"),
        (
            {"settings": "validation", "overrides": {"reg_weight": 1, "lr": 0.1}},
            "reg_weight: .* on held-out shots .*Leave it out, or use --settings fixed",
        ),
        (
            {"protocol": "ablation", "settings": "validation", "sweeps": ["rep_dim", "alpha"]},
            "alpha: .* on held-out shots",
        ),
    ],
)
def test_what_cannot_be_planned_is_named(changes, message):
    with pytest.raises(UsageError, match=message):
        plan(experiment(**changes))


def test_the_models_name_has_to_be_of_one_of_the_methods():
    """With several methods, its prefix makes no difference."""
    prefixed = f"mmrlpp-{MODEL_NAME}"
    found, plain = (plan(experiment(model=name)) for name in (prefixed, MODEL_NAME))
    assert folders(found) == folders(plain)
    models = [item.run.model for item in found if item.run.method == "mmrl"]
    assert models == [f"mmrl-{MODEL_NAME}"] * 2
    with pytest.raises(UsageError, match=r"is mmrl\+\+, but the method is mmrl: give the model as"):
        plan(experiment(model=prefixed, methods=["zeroshot", "mmrl"]))
