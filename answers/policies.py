"""How target classes are chosen where a user names none: names that are checked before torch is imported."""

from __future__ import annotations

LABEL = "label"
POLICIES = ("random", "runner-up", "all", LABEL)
"""With `LABEL`, every image that the classifier gets wrong is asked about, and the target is what it is."""
