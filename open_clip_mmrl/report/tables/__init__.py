"""Tables as data, one module per protocol. Imports load only."""
