"""How well work was done for the climate: a headline figure, a grade against a frozen baseline, and what made it so."""
