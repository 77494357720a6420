"""The hot path as C extensions: built on demand, used only while it fits the sources.

What runs at import needs the standard library alone; `build` and `mypyc_run` run for
`./panelboard compile`.
"""
