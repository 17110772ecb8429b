"""What an EVSP does not want to pay: held out of what is cleared until it is resolved."""
