"""The verbs, and what a terminal shows. Everything heavy is imported inside them."""
