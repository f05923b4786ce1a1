"""From class names to token ids, with CLIP's real tokenizer."""

import open_clip
import pytest
import torch
from helpers.tiny import CONTEXT, tiny_clip
from torch.nn import functional as F

from open_clip_mmrl.hub.class_tokens import class_tokens, look_alikes, readings
from open_clip_mmrl.models.text_towers.causal import CausalTextTower

TEMPLATE = "a photo of a {}."
START, END = 49406, 49407


@pytest.fixture(scope="module", params=[False, True], ids=["CLIP", "CustomTextCLIP"])
def model(request):
    return tiny_clip(custom=request.param, text={"vocab_size": 49408, "width": 2})


@pytest.fixture(scope="module")
def tokenizer():
    return open_clip.get_tokenizer("ViT-B-32", context_length=CONTEXT)


def test_tokens_are_the_tokenizer_s(model, tokenizer):
    tokens = class_tokens(model, tokenizer, ["cat", "hot_dog"], TEMPLATE)
    assert tokens.shape == (2, CONTEXT) and tokens.dtype == torch.long
    assert torch.equal(tokens, tokenizer(["a photo of a cat.", "a photo of a hot dog."]))
    assert tokens[:, 0].tolist() == [START] * 2
    assert tokens.argmax(dim=1).tolist() == [7, 8]
    assert torch.equal(tokens, class_tokens(model, tokenizer, ("cat", "hot dog"), TEMPLATE))


def test_the_context_is_the_model_s_not_the_tokenizer_s(model):
    long = open_clip.get_tokenizer("ViT-B-32")
    assert class_tokens(model, long, ["cat"], TEMPLATE).shape == (1, CONTEXT)


def words(count):
    return " ".join(["cat"] * count)


def test_a_prompt_may_fill_the_context(model, tokenizer):
    tokens = class_tokens(model, tokenizer, [words(CONTEXT - 2), "dog"], "{}")
    assert tokens[0, -1] == END and (tokens[0] != 0).all()


@pytest.mark.parametrize(
    "count",
    [CONTEXT - 2, CONTEXT - 1, CONTEXT, 2 * CONTEXT, 4 * CONTEXT - 2, 4 * CONTEXT - 1, 9 * CONTEXT],
)
def test_a_longer_prompt_is_refused_by_name(model, tokenizer, count):
    names = ["dog", words(count), "emu", words(CONTEXT)]
    with pytest.raises(ValueError, match=r"2 of 4 prompts are .* 12 tokens.*: shorten") as error:
        class_tokens(model, tokenizer, names, "{}!")
    assert repr(f"{words(count)}!") in str(error.value)


@pytest.mark.parametrize("names", [[], ()])
def test_no_names_are_refused(model, tokenizer, names):
    with pytest.raises(ValueError, match="no class names; give at least one"):
        class_tokens(model, tokenizer, names, TEMPLATE)


@pytest.mark.parametrize(
    ("names", "template", "message"),
    [
        (["cat"], "a photo.", "has no place for the class name"),
        ("cat", TEMPLATE, "class_names is the string 'cat'.*list"),
    ],
)
def test_wrong_templates_are_refused(model, tokenizer, names, template, message):
    with pytest.raises(ValueError, match=message):
        class_tokens(model, tokenizer, names, template)


def test_look_alikes_of_a_small_example():
    text = F.normalize(torch.tensor([[1.0, 0], [0, 1], [1, 0], [1, 1], [1, 1e-4]]), dim=1)
    names = ["a", "b", "c", "d", "e"]
    assert look_alikes(names, text) == [("a", "c"), ("a", "e"), ("c", "e")]
    assert look_alikes(names[:2], text[:2]) == []
    assert look_alikes(names, -text) == look_alikes(names, text)


def test_no_look_alikes_beyond_the_limit():
    text = torch.ones(4, 1)
    assert len(look_alikes(list("abcd"), text, limit=4)) == 6
    assert look_alikes(list("abcd"), text, limit=3) == []


def test_names_that_differ_in_capitals_only(model, tokenizer):
    names = ["cat", "Cat", "dog"]
    tokens = class_tokens(model, tokenizer, names, TEMPLATE)
    with torch.no_grad():
        text = model.encode_text(tokens, normalize=True)
    assert ("cat", "Cat") in look_alikes(names, text)


def test_names_that_the_tokenizer_reads_as_one(tokenizer):
    """Capitals, blanks, composed characters and HTML entities make no difference."""
    names = [
        "Café & bar",
        "cafe\u0301  &amp;  BAR",
        "café_&_bar",
        "Caf\u00e9 &amp; bar ",
        "cafe & bar",
    ]
    first, *same, other = readings(tokenizer, names, TEMPLATE, CONTEXT)
    assert same == [first] * 3 and other != first
    assert readings(tokenizer, ["cat"], "", CONTEXT) == readings(
        tokenizer, ["Cat"], TEMPLATE, CONTEXT
    )
    long = [f"{words(40)} {end}" for end in ("one", "two")]
    assert len(set(readings(tokenizer, long, TEMPLATE, CONTEXT))) == 2


def test_which_prompts_a_tower_reads_as_the_same(model, tokenizer):
    """Also words that share an embedding; what follows the end of a prompt is not read."""
    tokens = class_tokens(model, tokenizer, ["cat", "dog", "Cat", "two cats", "DOG"], TEMPLATE)
    tokens[2, -1] = 5
    assert model_tower(model).first_alike(tokens).tolist() == [0, 1, 0, 3, 1]
    tower = model_tower(model)
    weight = tower.token_embedding.weight
    before = weight[tokens[1]].clone()
    with torch.no_grad():
        weight[tokens[1]] = weight[tokens[0]]
        assert tower.first_alike(tokens).tolist() == [0, 0, 0, 3, 0]
        weight[tokens[1]] = before


def model_tower(model):
    return CausalTextTower.of(model, 1)


def test_padding_before_a_class_token_at_the_very_end_is_no_prompt_that_is_cut(model):
    """As open_clip's tokenizers of mode "clips" write it."""

    def clips(texts, context_length):
        rows = [[*range(1, 2 + len(t.split())), *[0] * context_length] for t in texts]
        return torch.tensor([[*row[: context_length - 1], 9] for row in rows])

    assert class_tokens(model, clips, ["cat"], "a {}").shape == (1, model.context_length)
    with pytest.raises(ValueError, match="longer than the model's context"):
        class_tokens(model, clips, ["cat " * 40], "a {}")
