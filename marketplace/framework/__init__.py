"""The contract framework: the modules that contracts are put together from, and their paper."""
