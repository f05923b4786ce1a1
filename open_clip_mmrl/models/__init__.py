"""The method: CLIP with representation tokens, what is trained, the loss, one task of training.

Start with `mmrl_clip`, `learner` and `task`; `reference` is the same method written literally.
Imports nothing but `config`, `errors` and `utils`; imported by every room above.
"""
