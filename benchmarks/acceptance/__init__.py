"""Acceptance of a trained network: the scores of ``ndvi-fusion evaluate``, further scores, and limits for both."""
