"""Auditing a forward pass: what it draws, and what is known to go wrong with that."""
