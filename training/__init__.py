"""Making a bundle: the checks of `cfx init`, the training session, and one file per part in `parts/`."""
