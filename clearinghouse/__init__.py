"""From a card held to a reader, to money: contractual and financial clearing."""
