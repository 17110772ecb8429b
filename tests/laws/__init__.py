"""Laws of the books, held after every step of histories that nobody would think of."""
