"""From a model and images to scores, and from scores to numbers; the linear probe.

Here belongs what tests any model on any images, without knowing of runs, files or protocols.
`experiments`, `report` and the rooms above them may import it.
"""
