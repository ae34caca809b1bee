"""Models: `bundle` describes one, `classifier` is how one is run, two backends run it, `model` opens it."""
