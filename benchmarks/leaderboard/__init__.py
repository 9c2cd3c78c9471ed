"""All methods on the same withheld observations of real places that none of them learned from."""
