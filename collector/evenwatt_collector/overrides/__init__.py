"""What a person has asked for, for a while: a lower limit of a zone, a cap or a pause of a node.

``model`` is what it is, ``book`` keeps those that hold (pure), ``effect`` says beforehand what would happen (pure),
``rules`` puts them on top of the rules that control keeps to, ``desk`` is the shell.
"""
