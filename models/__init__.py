"""Formal models of the protocols: what they are checked for, and what happens when a defence is taken out.

Knows neither agents nor testbed: a model is its own description of the protocol, and docs/models.md maps the two.
"""
