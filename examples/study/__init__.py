"""What the examples share: command lines, comparisons of methods, tables, files.

* :mod:`study.gains`: what each method gains over a baseline, with an interval, a
  corrected p-value and a verdict; and which methods cannot be distinguished from the
  best.
* :mod:`study.calibration`: the expected calibration error as a score for it.
* :mod:`study.words`: numbers with as many digits as their error allows, and the
  conclusion in one or two sentences.
* :mod:`study.tables`: tables for the terminal.
* :mod:`study.files`: CSV, JSON and pictures, written whole or not at all.
* :mod:`study.recipe`: how networks are trained; rooms add their own in subclasses.
* :mod:`study.arguments`: options that all scripts have, and bad values refused.

Everything is NumPy. Scores are losses: lower is better, and a gain is positive.
"""
