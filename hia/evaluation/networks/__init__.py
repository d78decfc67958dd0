"""The networks of published metrics, layer by layer as published: their numbers depend on every detail."""
