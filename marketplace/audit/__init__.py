"""Who did what, when and for whom: the log as those whom it concerns may read it."""
