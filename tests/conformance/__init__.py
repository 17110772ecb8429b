"""Against what others say: vectors and schemas from outside."""
