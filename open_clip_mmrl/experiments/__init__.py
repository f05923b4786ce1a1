"""Runs: recipes and protocols plan them, `execute` and `runner` run them in folders.

Here belongs what turns names and settings into `results.json` and an adapter file. `report`, the
command line and `benchmark_adapters` may import it; the report reads `results` and
`result_parts` alone.
"""
