"""The stages of a run, each a plain function from a config and URIs to a small report.

`flows/` puts them in order; a notebook can call them one by one.
"""
