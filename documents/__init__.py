"""Documents that partners get from each other: as XML, on paper, and how figures are written."""
