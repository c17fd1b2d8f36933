"""What a network starts from: its specification, the state and header it implies, and the named networks."""
