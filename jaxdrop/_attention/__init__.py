"""Attention with dropout, one public function per file, lifted by the package."""
