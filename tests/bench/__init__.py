"""The benchmarks work; what they measure is for a quiet machine, not for a test."""
