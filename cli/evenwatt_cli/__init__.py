"""The ``evenwatt`` command: one thin module per verb, imported only when the verb is used."""
