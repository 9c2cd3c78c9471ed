"""Real fields to learn from: patch stores of public extractions, a held quarter of each for validation."""
