"""The page ``docs/robustness.md``: which guards are tested on which path, by a run of their tests."""
