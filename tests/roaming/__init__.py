"""The words: examples from the standards, and laws."""
