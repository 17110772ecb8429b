"""Price a charge under its roaming agreement."""
