"""The people of a partner: who they are, what they may do, and how they log in."""
