"""The plumbing, each file with its tests."""
