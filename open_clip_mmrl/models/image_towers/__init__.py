"""The image towers with representation tokens: one interface, a family of towers per module.

`tower` is the interface, `families` picks the family by what the modules of a tower are. Nothing
outside of this folder reads a layer or a projection of an image tower.
Imports `models.blocks` and `models.learner`; imported by `models.features` and `models.support`.
"""
