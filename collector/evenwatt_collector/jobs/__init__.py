"""Work that somebody wants done: what it is, how it stands, what is to be done next. Pure."""
