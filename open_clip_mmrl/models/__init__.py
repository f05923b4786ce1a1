"""The method: CLIP with representation tokens, what is trained, the loss.

Start with `mmrl_clip`, `learner` and `task` (forward and loss; the step around them is
`training.step`); `reference` is the same method written literally.
Imports nothing but `config`, `errors` and `utils`; imported by every room above.
"""
