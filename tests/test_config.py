"""Settings: defaults, what is allowed, and the errors for anything else."""

import dataclasses
import json

import pytest

from open_clip_mmrl import MMRLConfig, TrainConfig
from open_clip_mmrl.config import as_config, merged_config
from open_clip_mmrl.errors import UsageError

BOTH = pytest.mark.parametrize("config_class", [MMRLConfig, TrainConfig])


def test_defaults_of_the_method():
    assert MMRLConfig().to_dict() == {
        "variant": "mmrl",
        "num_rep_tokens": 5,
        "rep_dim": 512,
        "start_layer": 6,
        "alpha": 0.7,
        "beta": 1.0,
        "reg_weight": 0.5,
        "residual_rank": 4,
        "proj_rank": 64,
        "token_sides": "both",
        "space": "shared",
        "regularizer": "cosine",
    }


def test_defaults_of_training_are_the_base_to_novel_runs():
    config = TrainConfig()
    assert (config.epochs, config.batch_size, config.lr) == (10, 4, 1e-3)
    assert (config.warmup_lr, config.weight_decay, config.betas) == (1e-5, 5e-4, (0.9, 0.999))
    assert (config.precision, config.flip, config.seed) == ("fp32", True, 1)
    assert config.augment == "classic"


@pytest.mark.parametrize(
    ("values", "beta"),
    [
        ({}, 1.0),
        ({"variant": "mmrl"}, 1.0),
        ({"variant": "mmrl++"}, 0.9),
        ({"variant": "mmrl++", "beta": None}, 0.9),
        ({"variant": "mmrl++", "beta": 1}, 1),
        ({"variant": "mmrl", "beta": 0.4}, 0.4),
        ({"beta": 0}, 0),
    ],
)
def test_beta_by_variant(values, beta):
    assert MMRLConfig(**values).beta == beta


def test_the_name_without_signs_is_an_alias():
    assert MMRLConfig(variant="mmrlpp") == MMRLConfig(variant="mmrl++")
    assert MMRLConfig(variant="mmrlpp").variant == "mmrl++"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"variant": "mmrl+"}, r"variant is 'mmrl\+'.*one of \('mmrl', 'mmrl\+\+'\)"),
        ({"variant": None}, "variant is None"),
        ({"num_rep_tokens": 0}, "num_rep_tokens is 0, .*whole number from 1 to [0-9,]+"),
        ({"num_rep_tokens": 2.0}, "num_rep_tokens is 2.0"),
        ({"num_rep_tokens": 1025}, "num_rep_tokens is 1025, .*from 1 to 1,024"),
        ({"rep_dim": 65537}, "rep_dim is 65537, .*from 1 to 65,536"),
        ({"rep_dim": -1}, "rep_dim is -1, .*whole number from 1 to [0-9,]+"),
        ({"rep_dim": True}, "rep_dim is True"),
        ({"start_layer": 0}, "start_layer is 0, .*whole number from 1 to [0-9,]+"),
        ({"start_layer": "6"}, "start_layer is '6'"),
        ({"residual_rank": 0}, "residual_rank is 0"),
        ({"proj_rank": None}, "proj_rank is None"),
        ({"alpha": 1.01}, "alpha is 1.01, .*number from 0 to 1"),
        ({"alpha": -0.1}, "alpha is -0.1, .*number from 0 to 1"),
        ({"alpha": "0.7"}, "alpha is '0.7'"),
        ({"alpha": float("nan")}, "alpha is nan, .*number from 0 to 1"),
        ({"alpha": True}, "alpha is True"),
        ({"alpha": None}, "alpha is None"),
        ({"beta": 1.5}, "beta is 1.5, .*number from 0 to 1"),
        ({"beta": -1}, "beta is -1, .*number from 0 to 1"),
        ({"reg_weight": -0.5}, "reg_weight is -0.5, .*number from 0 to 1e"),
        ({"reg_weight": float("inf")}, "reg_weight is inf, .*number from 0 to 1e"),
        ({"reg_weight": float("nan")}, "reg_weight is nan"),
        ({"norm_weight": -0.1}, "norm_weight is -0.1, .*number from 0 to 1e"),
        ({"moment_weight": "1"}, "moment_weight is '1'"),
        ({"token_sides": "text", "sequence_weight": 0.1}, "sequence_weight is 0.1, .*0 without"),
        ({"token_sides": "vision"}, r"token_sides is 'vision', .*'both', 'image', 'text'"),
        ({"space": None}, r"space is None, .*'shared', 'independent', 'text_to_image'"),
        ({"regularizer": "L1"}, r"regularizer is 'L1', .*'cosine', 'l1', 'mse'"),
        ({"variant": "mmrl++", "space": "independent"}, "space is 'independent', .*'shared' with"),
        ({"variant": "mmrlpp", "space": "text_to_image"}, r"'shared' with 'mmrl\+\+'"),
        ({"space": "text_to_image", "token_sides": "text"}, "token_sides is 'text', .*'both' with"),
        ({"space": "text_to_image", "token_sides": "image"}, "made of text tokens"),
    ],
)
def test_wrong_settings_of_the_method(values, words):
    with pytest.raises(UsageError, match=words):
        MMRLConfig(**values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"epochs": 0}, "epochs is 0, .*whole number from 1 up"),
        ({"epochs": 1.5}, "epochs is 1.5"),
        ({"batch_size": 0}, "batch_size is 0, .*whole number from 1 up"),
        ({"lr": -1e-3}, "lr is -0.001, .*number from 0 to 1e"),
        ({"lr": float("inf")}, "lr is inf"),
        ({"warmup_lr": "x"}, "warmup_lr is 'x', .*number from 0 to 1e"),
        ({"weight_decay": None}, "weight_decay is None"),
        ({"betas": (0.9,)}, r"betas is \(0.9,\), .*two numbers from 0 to below 1"),
        ({"betas": (0.9, 1.0)}, r"betas is \(0.9, 1.0\), .*two numbers from 0 to below 1"),
        ({"betas": (-0.1, 0.9)}, r"betas is \(-0.1, 0.9\)"),
        ({"betas": ("0.9", 0.9)}, "betas is"),
        ({"betas": 0.9}, "betas is 0.9, .*two numbers"),
        ({"precision": "half"}, r"'half', .*'fp32', 'amp_bf16', 'amp_fp16', 'bf16', 'fp16'"),
        ({"augment": "gpu"}, r"augment is 'gpu', .*one of \('classic', 'device'\)"),
        ({"flip": 1}, "flip is 1, .*True or False"),
        ({"text_cache": False}, "text_cache is False, .*False where text_chunk_size is given"),
        ({"text_chunk_size": 0}, "text_chunk_size is 0"),
        ({"lr": 1e300}, "lr is 1e.300, .*from 0 to 1e"),
        ({"seed": 2**63}, "seed is 9223372036854775808, .*from 0 to 2"),
        ({"seed": -1}, "seed is -1, .*whole number from 0 to 2"),
        ({"seed": None}, "seed is None"),
    ],
)
def test_wrong_settings_of_training(values, words):
    with pytest.raises(UsageError, match=words):
        TrainConfig(**values)


@pytest.mark.parametrize("values", [{"alpha": 0}, {"alpha": 1}, {"reg_weight": 0}, {"beta": 0.0}])
def test_the_ends_of_a_range_are_allowed(values):
    assert MMRLConfig(**values).to_dict().items() >= values.items()


def test_terms_of_the_loss_are_written_only_where_used():
    """Files of runs without them stay what they were; `test_defaults_of_the_method` has none."""
    config = MMRLConfig(norm_weight=0.1, moment_weight=0, sequence_weight=0.0)
    assert config.to_dict() == {**MMRLConfig().to_dict(), "norm_weight": 0.1}
    assert MMRLConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    "values",
    [
        {"space": "independent", "token_sides": "image"},
        {"space": "independent", "token_sides": "text"},
        {"variant": "mmrl++", "token_sides": "text", "regularizer": "mse"},
    ],
)
def test_allowed_combinations_of_the_ablation(values):
    assert MMRLConfig(**values).to_dict().items() >= values.items()


def test_as_config_takes_either():
    config = MMRLConfig(alpha=0.2)
    assert as_config(config) is config and as_config({"alpha": 0.2}) == config


def test_merged_config():
    """Fields over a stored config; the other variant has a beta of its own; a whole one stays."""
    stored = MMRLConfig(variant="mmrl++", beta=0.5, alpha=0.2)
    assert merged_config(stored.to_dict(), None) == stored
    assert merged_config(stored, {"alpha": 0.9}) == stored.replace(alpha=0.9)
    assert merged_config(stored, {"variant": "mmrl"}).beta == 1.0
    assert merged_config(stored, {"variant": "mmrl", "beta": 0.4}).beta == 0.4
    assert merged_config(stored, MMRLConfig()) == MMRLConfig()


@BOTH
def test_round_trip_through_json(config_class):
    changed = {MMRLConfig: {"variant": "mmrl++", "alpha": 0.1}, TrainConfig: {"betas": (0.8, 0.9)}}
    for config in (config_class(), config_class(**changed[config_class])):
        again = config_class.from_dict(json.loads(json.dumps(config.to_dict())))
        assert again == config and hash(again) == hash(config)


@pytest.mark.parametrize(
    ("config_class", "key", "near"),
    [
        (MMRLConfig, "rep_dims", "rep_dim"),
        (MMRLConfig, "startlayer", "start_layer"),
        (MMRLConfig, "num_tokens", "num_rep_tokens"),
        (TrainConfig, "epoch", "epochs"),
        (TrainConfig, "learning_rate", None),
        (MMRLConfig, "zzz", None),
    ],
)
def test_unknown_fields_name_the_nearest(config_class, key, near):
    with pytest.raises(UsageError) as error:
        config_class.from_dict({key: 1})
    message = str(error.value)
    assert f"{config_class.__name__} has no field {key!r}" in message
    assert all(field.name in message for field in dataclasses.fields(config_class))
    assert (f"Did you mean {near}" in message) if near else ("Did you mean" not in message)


@BOTH
def test_frozen_and_by_keyword_only(config_class):
    config = config_class()
    name = dataclasses.fields(config_class)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, name, 3)
    with pytest.raises(TypeError):
        config_class("mmrl")
    assert dataclasses.replace(config) == config


def test_a_usage_error_is_a_value_error():
    assert issubclass(UsageError, ValueError)
