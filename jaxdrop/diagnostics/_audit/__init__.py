"""Auditing a forward pass: its draws, and likely mistakes.

- ``audit``: the public functions. They run through the following files in this order.
- ``tracing``: traces the function or model into a program, and records the calls of
  stochastic modules while it does so.
- ``frameworks``: the functions that an audit needs from a framework. ``nnx/_audit.py``
  and ``linen/_audit.py`` provide them, and ``jaxdrop/__init__.py`` registers these.
- ``modules``: the technique and rate of a module, in any framework.
- ``walk``: follows a program equation by equation, through calls, loops and choices.
- ``values``: the facts about a value; equal computations have equal numbers.
- ``transfer``: how one equation passes on the facts about its operands.
- ``draws``: which equations draw, and the collected draws.
- ``costs``: the bits and bytes of a draw.
- ``places``: where in the user's code and modules an equation comes from.
- ``findings``: likely mistakes, with their messages.
- ``report``: the result, as data and as a table.
"""
