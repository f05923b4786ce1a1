"""The files of a report: Markdown, CSV, pictures, and one HTML page from the templates here.

The only folder of the report that writes; it imports all others.
"""
