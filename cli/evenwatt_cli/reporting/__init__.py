"""The formats of ``evenwatt report``: one module each, all from the same report and what follows from it."""
