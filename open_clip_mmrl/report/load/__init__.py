"""Reading: results.json files to runs, runs to sections with scores; published results as data.

Imports no other folder of the report. `collect` and `arrange` are the way in.
"""
