"""The image towers with representation tokens: one interface, a module per kind of modules.

`tower` is the interface, `families` picks the family by what the modules of a tower are. Nothing
outside of this folder reads a layer or a projection of an image tower.
Imports `models.blocks` and `models.learner`; imported by `models.features` and `models.support`.

Exact shortcuts, by family:

                             open_clip ViT,   open_clip ViT,   timm ViT,
                             class token      pooled rows      timm EVA
    layers below the tokens  once for both branches, adapted and frozen
    tokens, with beta = 1    keys and values  keys and values  rows of
                             of the batch     of the batch     every image
    rows in the last layer   those read       all (are read)   all

With `sequence_weight` the loss reads the tokens' outputs of every layer: they are rows of every
image then, with any beta (+2.0 % operations with ViT-B/16, 50 classes, batch 4).

timm's blocks are called whole and compute all rows they are given. With 5 tokens in 7 of 12 layers
that is 2.5 % more rows there (of 196 patches); and where the class token is read, a whole last
layer in both branches. Text towers have shortcuts of their own.

Training step of the literal reference / ours, in time and in operations (`speed`, MMRL, batch 4,
one CPU core of a busy machine, random weights): EVA02-B-16 2.7 and 2.5, PE-Core-B-16 2.9 and 2.9
(50 classes); ViT-B-16-SigLIP2 1.4 and 1.3 (20 classes; its text tower is bidirectional).
"""
