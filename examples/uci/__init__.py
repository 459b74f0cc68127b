"""Regression as in Gal and Ghahramani (2016), for ``mc_dropout_uci.py``."""
