"""The classifiers that cfx defines. Adapters for classifiers from elsewhere are in `foreign/`."""
