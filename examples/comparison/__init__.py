"""The rooms of ``compare_regularizers.py``, which itself shows what methods do.

* :mod:`comparison.method`: the numbers of a method, and the strengths that are tried.
* :mod:`comparison.further`: methods that only studies and ``--methods`` train.
* :mod:`comparison.training`: epochs of all seeds and strengths, as one program.
* :mod:`comparison.sweep`: functions that are mapped over strengths and seeds.
* :mod:`comparison.search`: the choice of strengths on validation images.
* :mod:`comparison.answers`: how networks predict, and what that scores.
* :mod:`comparison.verdicts`: what each method gains, and what predictions know.
* :mod:`comparison.report`, :mod:`comparison.figures`: tables, files, pictures.
* :mod:`comparison.arguments`: options, data, and recipes.
* :mod:`comparison.conduct`: ``--study``, one of :mod:`comparison.studies`,
  :mod:`comparison.sizes` and :mod:`comparison.ensembles`;
  :mod:`comparison.representation` looks into networks.
"""
