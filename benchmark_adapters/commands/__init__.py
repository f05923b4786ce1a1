"""The commands that clip_benchmark does not have: `fewshot` and `export`.

Each module has `add_arguments(parser)` and `main(args)`, which the command line calls.
"""
