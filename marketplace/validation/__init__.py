"""Contract Validation (SRV 1967): is a contract in force, was it, will it be."""
