"""Acceptance of a trained network: the product's evaluation, further scores, and all of them beside their limits."""
