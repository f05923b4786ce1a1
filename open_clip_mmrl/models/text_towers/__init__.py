"""The text towers: one interface, a family of towers per module.

`tower` is the interface, `families` picks the family by what the modules of a tower are, `rows` is
what all kinds of open_clip's own tower do alike.
Imports `models.blocks` and `models.base_config`; imported by `models.features` and
`models.support`.
"""
