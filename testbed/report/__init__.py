"""Tables, figures and the page of an experiment that has ended.

Draws what the summary and the records say; judges nothing, and never asks a running network.
"""
