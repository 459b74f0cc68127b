"""Networks that choose what they learn from, for ``active_learning.py``."""
