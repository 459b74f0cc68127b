"""The figure of ``mc_dropout_regression.py``, and a series without files."""
