"""When and where work runs: plans over the intensity forecast and its uncertainty. Pure."""
