"""A classifier with dropout and its figures, for ``mc_dropout_uncertainty.py``."""
