"""One technique per file, lifted to the package by ``jaxdrop/__init__.py``.

Shared by several techniques, or by the modules of both frameworks:

- ``_weights``: the weights of a tree that are dropped, and the keys of their masks.
- ``_dropped_layer``: layers whose weights are dropped.
- ``_noisy_weights``, ``_logistic``: weights with learned noise; logistic noise.
- ``_sequences``, ``_carries``: masks and keys of recurrent cells, and their carries.
"""
