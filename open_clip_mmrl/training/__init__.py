"""Training: one step, its optimizer, its recording as a CUDA graph, and the loop over epochs.

A step takes a task of `models` and batches of `data.loading`; nothing here knows data sets or runs.
Imported by `experiments`, `classifier` and `cli`.
"""
