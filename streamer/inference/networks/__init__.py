"""The networks in torch, one file a family: what `training` trains and what the Torch variant runs."""
