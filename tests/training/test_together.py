import pytest
from helpers.trainer import assert_same, make, weights

from open_clip_mmrl.training.together import train_together


@pytest.mark.parametrize("precision", ["fp32", "amp_bf16", "bf16"])
def test_each_learner_is_what_its_own_training_gives_bit_for_bit(precision):
    alone = [make(variant="mmrl++", precision=precision, epochs=2) for _ in range(3)]
    changes = [{}, {"reg_weight": 6.0}, {"beta": 1.0}]
    models = []
    for trainer, change in zip(alone, changes, strict=True):
        config = trainer.model.config.replace(**change)
        models.append(alone[0].model.sibling(config))
        models[-1].learner.load_state_dict(trainer.model.learner.state_dict())
        trainer.model.config = config
        trainer.fit()
    first = alone[0]
    calls = []
    hook = first.model.visual.conv1.register_forward_hook(lambda *args: calls.append(1))
    finite = train_together(models, first.task.classes, make().images, first.config, quiet=True)
    hook.remove()
    assert finite == [True] * 3
    for trainer, model in zip(alone, models, strict=True):
        assert_same(weights(trainer), dict(model.learner.named_parameters()))
    assert len(calls) == first.state.steps  # not three times as many
