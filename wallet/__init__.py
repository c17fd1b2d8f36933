"""Keys, keystore and signing on the user's side: everything that may hold a secret, and nothing that needs a node."""
