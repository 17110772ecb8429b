"""VAT: which rule a supply falls under, by facts and by the time of the fact. Rules are data."""
