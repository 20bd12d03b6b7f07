"""How a bundle is made: `cfx init`'s checks, the training session, one file a part in `parts/`."""
