"""Stories across wings, told through a whole hub by its public API."""
