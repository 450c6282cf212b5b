"""Work that is run on command, within what this node's owner has written into its settings. Off by default.

``settings`` and ``templates`` (pure) say what may run, ``book`` (pure) how a run stands, ``plan`` what a supervisor is
told. ``supervisor`` is a process of its own for each run: it starts the work as an unprivileged user
(``privileges``), keeps what it writes (``output``), ends all of it (``tree``), and goes on when the agent dies.
``desk`` is the shell in the agent around all this: ``identity``, ``places`` and ``launch`` get a run under way,
``watching`` looks at it, ``account`` counts it, ``telling`` reports it; ``asking`` speaks to engines and systemd.
Nothing of it is loaded while jobs are off.
"""
