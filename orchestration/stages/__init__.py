"""The stages of the chain: what each reads of the configuration, and what it does."""
