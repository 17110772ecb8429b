"""A second opinion on the money: written from the specification, sharing no code with Gridroam."""
