"""The offline half of streamer: from folders of recordings to a model bundle."""
