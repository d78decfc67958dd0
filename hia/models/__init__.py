"""The networks: codecs, image encoder, face embedder and the animator they serve."""
