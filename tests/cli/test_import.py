"""`import`: checkpoints in the layout of the released code become adapters."""

import json
import math

import numpy as np
import open_clip
import pytest
import torch
from helpers.cli import run
from helpers.golden import golden, golden_section
from torch.optim.lr_scheduler import CosineAnnealingLR

from open_clip_mmrl import MMRLTask, read_adapter_info
from open_clip_mmrl.hub.official_checkpoint import read_checkpoint

LOG = """epoch [10/10] loss 0.1
Evaluate on the *val* set
=> result
* total: 400
* correct: 100
* accuracy: 25.0%
Evaluate on the *test* set
=> result
* total: 1,234
* correct: 617
* accuracy: 50.0%
* error: 50.0%
* macro_f1: 49.1%
"""


def checkpoint(case, section, epoch):
    """What the authors' trainer saves: the whole model, optimizer and scheduler."""
    clip = golden_section(case, "clip")
    prompts = clip["token_embedding.weight"][case.data["tokens"].long()].half()
    names = {k: v.float() for k, v in golden_section(case, section).items() if "eval_" not in k}
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    optimizer = torch.optim.AdamW([weight], lr=0.1)
    optimizer.step()
    schedule = {"successor": CosineAnnealingLR(optimizer, 10.0), "last_epoch": epoch}
    return {
        "state_dict": {
            **names,
            **{
                k.replace("visual", "image_encoder"): v.half()
                for k, v in clip.items()
                if k.startswith("visual.")
            },
            "text_encoder.positional_embedding": clip["positional_embedding"].half(),
            "prompt_embeddings": prompts,
            "representation_learner.prompt_embeddings": prompts,
        },
        "epoch": epoch,
        "optimizer": optimizer.state_dict(),
        "scheduler": schedule,
        "val_result": np.float64(50.0),
    }


@pytest.fixture(scope="module", params=["mmrl_small", "mmrlpp_small"])
def layout(request, tmp_path_factory):
    """A run's folder with two checkpoints and a log, base weights, and class names."""
    case, root = golden(request.param), tmp_path_factory.mktemp("out")
    run_folder = root / "dtd" / "16shots" / "seed1"
    (run_folder / "learner").mkdir(parents=True)
    for section, epoch in (("param", 2), ("after", 10)):
        file = run_folder / "learner" / f"model.pth.tar-{epoch}"
        torch.save(checkpoint(case, section, epoch), file)
    (run_folder / "log.txt").write_text(LOG)
    clip = {k: v.float() for k, v in golden_section(case, "clip").items()}
    clip["logit_scale"] = torch.tensor(math.log(case.meta["logit_scale"]))
    torch.save(clip, root / "base.pt")
    (root / "names.txt").write_text("\n".join(case.meta["class_names"]) + "\n")
    return case, root


@pytest.fixture(autouse=True)
def base(layout, registries, tmp_path):
    """The golden CLIP under a name of open_clip's."""
    (tmp_path / "Golden-8.json").write_text(json.dumps(layout[0].meta["clip_config"]))
    open_clip.add_model_config(tmp_path / "Golden-8.json")


ONE = pytest.mark.parametrize("layout", ["mmrl_small"], indirect=True)


def import_it(layout, source, output, *more, template=None, names=None):
    case, root = layout
    return run(
        "import", source, "--model", "Golden-8", "--pretrained", root / "base.pt",
        "--class-names", names or root / "names.txt", "--output", output,
        "--template", template or case.meta["template"], *more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("source", "section"),
    [("dtd", "after"), ("dtd/16shots/seed1/learner/model.pth.tar-2", "out")],
)
def test_a_checkpoint_scores_the_same_to_the_last_image(layout, tmp_path, source, section):
    case, root = layout
    beta = [] if case.meta["beta"] is None else ["--set", f"beta={case.meta['beta']}"]
    code, text, _ = import_it(layout, root / source, tmp_path / "x.safetensors", *beta)
    assert code == 0, text
    assert f"start_layer {case.meta['rep_layers'][0]}" in text
    assert f"all {len(case.meta['class_names'])} are those of the training" in text
    assert "base.pt, the same" in text
    info = read_adapter_info(tmp_path / "x.safetensors")
    logged = {"accuracy": 50.0, "images": 1234, "split": "test", "file": "log.txt"}
    assert info["scores"] == ({"logged": logged} if section == "after" else {})
    model = open_clip.create_model(
        {"mmrl": "mmrl-", "mmrl++": "mmrlpp-"}[case.meta["method"]] + "Golden-8",
        pretrained=str(tmp_path / "x.safetensors"),
    )
    tokenizer = open_clip.get_tokenizer("Golden-8")
    prompts = [info["template"].format(n.replace("_", " ")) for n in info["class_names"]]
    tokens = tokenizer(prompts)
    assert torch.equal(tokens, case.data["tokens"].long())
    with torch.no_grad():
        task = MMRLTask(model.double(), tokens)
        found = task(case.data["images"].double(), case.data["labels"])
    place = "out/{}" if section == "out" else "after/eval_{}"
    for ours, theirs in (("logits", "logits"), ("logits_fused", "logits_fusion")):
        expected = case.data[place.format(theirs)].double()
        assert torch.equal(found[ours].argmax(1), expected.argmax(1))
        torch.testing.assert_close(found[ours], expected, rtol=0, atol=2e-4)


@ONE
def test_nothing_in_a_checkpoint_is_run(tmp_path, layout):
    class Runs:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    content = checkpoint(layout[0], "param", 1)
    torch.save({**content, "scheduler": Runs()}, tmp_path / "model.pth.tar-1")
    assert read_checkpoint(tmp_path / "model.pth.tar-1").keys() == content["state_dict"].keys()
    assert not (tmp_path / "made").exists()


@ONE
def test_what_does_not_fit_is_named_with_a_remedy(layout, tmp_path):
    case, root = layout
    output = tmp_path / "x.safetensors"
    last = root / "dtd" / "16shots" / "seed1" / "learner" / "model.pth.tar-10"
    content = torch.load(last, weights_only=False)

    def refused(source, *words, code=1, **how):
        found, text, _ = import_it(layout, source, output, *how.pop("more", []), **how)
        assert found == code and not output.exists()
        for word in words:
            assert word in text, (word, text)

    (tmp_path / "few.txt").write_text("one\ntwo")
    refused(last, "on 6 classes, and 2 class names", names=tmp_path / "few.txt")
    refused(last, "on 6 classes, and 3 class names", more=["--classes", "base"])
    refused(last, "rep_dim", code=2, more=["--set", "rep_dim=9"])
    refused(last, "none of the paper's. Did you mean dtd?", code=2, more=["--dataset", "dtdd"])
    refused(tmp_path / "none", "no checkpoint file or folder", code=2)
    refused(tmp_path, "no model.pth.tar-N in", code=2)
    for seed in "12":
        (tmp_path / seed).mkdir()
        (tmp_path / seed / "model.pth.tar-1").touch()
    refused(tmp_path, "checkpoints of 2 runs", code=2)
    refused(tmp_path / "1", "cannot be read", "save its tensors alone")
    torch.save({"state_dict": {"prompt_learner.ctx": torch.zeros(2)}}, tmp_path / "coop")
    refused(tmp_path / "coop", "neither MMRL nor MMRL++", "prompt_learner.ctx")
    content["state_dict"]["image_encoder.proj"] = content["state_dict"]["image_encoder.proj"].neg()
    torch.save(content, tmp_path / "other")
    refused(tmp_path / "other", "other base weights", "--pretrained")
    content["state_dict"]["image_encoder.proj"] = torch.zeros(3, 3)
    torch.save(content, tmp_path / "other")
    refused(tmp_path / "other", "another base", "(3, 3)", "--model")
    code, text, _ = import_it(layout, last, output, template="a picture of a {}.")
    assert code == 0 and "6 of 6 prompts are not those in the checkpoint" in text
    assert case.meta["class_names"][0] in text


@ONE
@pytest.mark.parametrize("kind", ["list", "split"])
def test_names_come_from_a_list_or_a_split_file(layout, tmp_path, kind):
    case, root = layout
    names = case.meta["class_names"]
    rows = [["a.jpg", label, name] for label, name in enumerate(names)]
    content = names if kind == "list" else {"train": rows, "val": [], "test": []}
    (tmp_path / "names.json").write_text(json.dumps(content))
    output = tmp_path / "x.safetensors"
    more = ["--dataset", "oxford_pets"]
    code, text, _ = import_it(layout, root, output, *more, names=tmp_path / "names.json")
    assert code == 0 and "reg_weight 0.2 (the paper's for oxford_pets" in text
    assert read_adapter_info(output)["class_names"] == names
