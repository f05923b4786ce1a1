"""Files: Markdown, CSV, HTML. Imports everything of the report; only it writes."""
