"""Training: `step` (backward and optimizer), `optim` (AdamW, learning rates), `trainer` (the loop).

`together` trains several learners on the same batches, `cuda_graph` records a step, `record` tells
what was done. Forward and loss are `models.task`.
A step takes a task of `models` and batches of `data.loading`; nothing here knows data sets or runs.
Imported by `experiments`, `classifier` and `cli`.
"""
