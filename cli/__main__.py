"""`python -m cfx.cli` is the same as the command `cfx`."""

from .app import main

raise SystemExit(main())
