"""Pictures, one module per kind. Imports load and tables."""
