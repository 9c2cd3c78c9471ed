"""Commands of this package: `package` and `workflow`."""
