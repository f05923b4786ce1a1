"""The choice of settings for one run on its own training images ("validation" settings).

`folds` of the images, `trials` of settings in them, the `rule` that chooses, the `search`. No test
or validation split is looked at. Imported by `train_adapter` and `time_estimate`.
"""
