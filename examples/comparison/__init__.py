"""The parts of ``compare_regularizers.py``: methods, training, evaluation, report."""
