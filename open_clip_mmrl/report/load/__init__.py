"""Reading: results.json files to runs, sections and scores; published results."""
