"""Pure reads over a state view: what RPC and wallet show without anyone having to sign anything."""
