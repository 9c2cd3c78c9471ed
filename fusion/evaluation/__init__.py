"""Evaluation of models and baselines on withheld observations or on simulated scenes with known truth."""
