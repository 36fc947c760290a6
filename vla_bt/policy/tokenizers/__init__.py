"""Two small tokenizers, the sentences they are made from, and the command that makes them."""
