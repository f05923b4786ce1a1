"""From examples to batches of pixels: decoding, caching, augmentation and order, all seeded.

Knows examples and a model's preprocessing, but no data sets. Imported by `training`,
`evaluation`, `experiments`, `classifier` and `cli`.
"""
