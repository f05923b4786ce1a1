"""`open-clip-mmrl speed`: time, memory and operations of the product's own steps.

`command` is the command line's entry; the measurement is in the other modules. Imported by
`cli.app` alone.
"""
