"""Scores of any model beside baselines, on withheld observations or on known truth."""
