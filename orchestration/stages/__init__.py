"""The stages of the chain: their functions, and the parts of the configuration that each reads."""
