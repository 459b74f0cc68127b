"""Comparing methods: paired gains, corrected verdicts, numbers and conclusions.

* :mod:`study.gains`: what each method gains over a baseline, with an interval, a
  corrected p-value and a verdict; and which methods cannot be distinguished from the
  best.
* :mod:`study.calibration`: the expected calibration error as a score for it.
* :mod:`study.words`: numbers with as many digits as their error allows, and the
  conclusion in one or two sentences.

Everything is NumPy. Scores are losses: lower is better, and a gain is positive.
"""
