"""The roof, from the command line to the replay."""
