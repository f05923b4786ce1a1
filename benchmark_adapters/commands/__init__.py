"""The commands that clip_benchmark does not have: `fewshot` and `export`.

Each is a module with `add_arguments(parser)` and `main(args)`. Only the command line imports them.
"""
