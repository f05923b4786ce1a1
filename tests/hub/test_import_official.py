"""The authors' checkpoints under their own names: what is loaded, and what is refused."""

import copy
import re

import pytest
import torch
from helpers.golden import golden, golden_model, golden_section
from helpers.tiny import tiny_mmrl

from open_clip_mmrl import load_official_state_dict
from open_clip_mmrl.hub.import_official import _official_names

PREFIX = "representation_learner."


@pytest.fixture
def model(golden_case):
    return golden_model(golden_case, custom=False)


@pytest.fixture
def official(golden_case):
    """The learnable parameters of a golden file, under the authors' names; a copy, to change."""
    return {name: value.clone() for name, value in golden_section(golden_case, "param").items()}


def with_base(official, clip):
    """As the authors' trainer saves it: the whole model, wrapped up."""
    return {
        "state_dict": {
            **official,
            **{f"image_encoder.{k}": v for k, v in list(clip.items())[:3]},
            "text_encoder.positional_embedding": torch.zeros(2),
            "prompt_embeddings": torch.zeros(3),
            PREFIX + "prompt_embeddings": torch.zeros(3),
        },
        "epoch": 5,
        "optimizer": None,
    }


def assert_refused(model, state, *words):
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=re.escape(words[0])) as error:
        load_official_state_dict(model, state)
    for word in words[1:]:
        assert word in str(error.value), f"{word!r} is not in {error.value}"
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_names_are_exactly_the_golden_file_s(golden_case, model, official):
    layers = len(golden_case.meta["rep_layers"])
    names = _official_names(model.config.variant, layers)
    assert sorted(n for group in names.values() for n in group) == sorted(official)
    ours = {name for name, _ in model.learner.named_parameters()}
    assert names.keys() == ours


def test_every_value_arrives_in_its_place(golden_case, model, official):
    load_official_state_dict(model, official)
    layers = len(golden_case.meta["rep_layers"])
    for name, names in _official_names(model.config.variant, layers).items():
        value = model.learner.get_parameter(name)
        for i, theirs in enumerate(names):
            found = value[i] if len(names) > 1 else value
            assert torch.equal(found, official[theirs]), (name, theirs)


def test_letters_a_and_b_are_exchanged():
    """Their aligner's A is [out, r] and B [r, in]; their projection's A is [in, r], B [r, out]."""
    case = golden("mmrlpp_small")
    names, shapes = _official_names("mmrl++", 1), golden_section(case, "param")
    rank, proj_rank = case.meta["res_rank"], case.meta["proj_rank"]
    assert shapes[names["image_aligner.residual_u"][0]].shape[-1] == rank
    assert shapes[names["image_aligner.residual_v"][0]].shape[0] == rank
    assert shapes[names["projection.residual_d"][0]].shape[-1] == proj_rank
    assert shapes[names["projection.residual_u"][0]].shape[0] == proj_rank


def test_a_whole_checkpoint_is_accepted(golden_case, model, official):
    checkpoint = with_base(official, golden_section(golden_case, "clip"))
    load_official_state_dict(model, checkpoint)
    other = golden_model(golden_case, custom=True)
    load_official_state_dict(other, official)
    for name, value in model.learner.state_dict().items():
        assert torch.equal(value, other.learner.state_dict()[name]), name
    # The frozen weights of the checkpoint are passed over, not loaded.
    fresh = golden_model(golden_case, custom=False)
    assert torch.equal(model.visual.conv1.weight, fresh.visual.conv1.weight)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_values_in_another_precision_are_converted(model, official, dtype):
    load_official_state_dict(model, {k: v.to(dtype) for k, v in official.items()})
    expected = official[PREFIX + "compound_rep_tokens"].to(dtype).double()
    assert model.learner.space.dtype == torch.float64
    assert torch.equal(model.learner.space, expected)


def test_numpy_arrays_are_accepted(model, official):
    load_official_state_dict(model, {k: v.numpy() for k, v in official.items()})
    assert torch.equal(model.learner.space, official[PREFIX + "compound_rep_tokens"])


def test_what_was_loaded_is_a_copy(model, official):
    load_official_state_dict(model, official)
    expected = model.learner.space.detach().clone()
    official[PREFIX + "compound_rep_tokens"].zero_()
    assert torch.equal(model.learner.space, expected)


def test_each_missing_name_is_named(model, official):
    for name in official:
        less = {k: v for k, v in official.items() if k != name}
        assert_refused(model, less, f"missing ['{name}']", "not known nothing", "start_layer")


@pytest.mark.parametrize("name", [PREFIX + "more", "optimizer_step", "space"])
def test_an_unknown_name_is_named(model, official, name):
    more = {**official, name: torch.zeros(1)}
    assert_refused(model, more, "missing nothing", f"not known ['{name}']")


def test_the_other_variant_is_refused(model):
    other = {"mmrl": "mmrlpp_small", "mmrl++": "mmrl_small"}[model.config.variant]
    state = golden_section(golden(other), "param")
    assert_refused(model, state, f"not that of {model.config.variant} with", "Check variant")


def renamed(official, shift):
    """The same parameters for one layer more or less."""
    result = {}
    for name, value in official.items():
        parts = name.split(".")
        layer = next((i for i, part in enumerate(parts) if part.isdigit()), None)
        if layer is None:
            result[name] = value
        elif shift > 0:
            result[name] = value
            parts[layer] = str(int(parts[layer]) + 1)
            result.setdefault(".".join(parts), value)
        elif parts[layer] != "0":
            parts[layer] = str(int(parts[layer]) - 1)
            result[".".join(parts)] = value
    return result


@pytest.mark.parametrize(("shift", "found"), [(1, "not known ['"), (-1, "missing ['")])
def test_another_number_of_layers_is_refused(golden_case, model, official, shift, found):
    layers = len(golden_case.meta["rep_layers"])
    words = f"{model.config.variant} with {layers} token layers"
    assert_refused(model, renamed(official, shift), words, found, "start_layer")


def test_another_width_is_refused(model, official):
    name = PREFIX + "compound_rep_tokens"
    wide = {**official, name: torch.zeros(official[name].shape[0], 99)}
    assert_refused(model, wide, "official state dict does not fit", "space is", "99")


def test_layers_that_differ_in_shape_are_refused(model, official):
    variant, part = model.config.variant, "bias"
    name = next(n for n in _official_names(variant, 2)[f"image_aligner.{part}"] if n in official)
    odd = {**official, name: torch.zeros(3)}
    assert_refused(model, odd, "differ in shape", "(3,)")


@pytest.mark.parametrize("setting", [{"token_sides": "image"}, {"space": "independent"}])
def test_a_variant_of_the_ablation_is_refused(official, setting):
    """The authors have released none, and their names would not tell the variants apart."""
    (name,) = setting
    words = f"hold the full method, but this model has {name}='{setting[name]}'"
    assert_refused(tiny_mmrl(**setting), official, words, f"create it with {name}=")


def test_an_empty_dict_is_refused(model):
    assert_refused(model, {}, "missing ['", "Check variant")


class Fails:
    def __array__(self, *_args):
        raise TypeError("no array")


@pytest.mark.parametrize("state", [None, 3, "model.pth.tar-10", [], {"state_dict": None}, {3: 4}])
def test_what_is_no_state_dict_is_refused(model, state):
    assert_refused(model, state, "the official state dict is a ", "weights_only=True")


@pytest.mark.parametrize(
    "value", [None, "text", [1, "a"], {}, Fails(), 1j, True, [[1, 2], [3]], torch.zeros(1).int()]
)
def test_what_is_no_tensor_is_named(model, official, value):
    name = PREFIX + "compound_rep_tokens"
    assert_refused(model, {**official, name: value}, f"{name} in the official state dict")


@pytest.mark.parametrize(
    "change", [lambda t: t.to_sparse(), lambda t: t.to("meta"), torch.Tensor.long]
)
def test_tensors_that_cannot_be_parameters_are_named(model, official, change):
    for name in official:
        state = {**official, name: change(official[name])}
        assert_refused(model, state, f"{name} in the official state dict")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(model, official, value):
    for tensor in official.values():
        before = tensor.clone()
        tensor.view(-1)[0] = value
        assert_refused(model, official, "The official state dict holds numbers in", "not finite")
        tensor.copy_(before)
