"""The catalogue: which services there are, in which versions, and who provides them."""
