"""Exchange rates: dated and sourced, kept as they were published, and what they make of money."""
