"""Lists of cards that an operator's charge points may accept while they cannot ask."""
