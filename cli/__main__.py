"""`python -m cfx.cli`: the same as the command `cfx`."""

from .app import main

raise SystemExit(main())
