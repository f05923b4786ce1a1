"""Methods of others, on the same towers, images and scores: what each would give on one's data.

Here belongs one module per method, each from its paper; `methods` lists them. `experiments` may
import it. A peer is trained in one go and kept in memory: there is no adapter file of it, and a
run that was stopped starts again.
"""
