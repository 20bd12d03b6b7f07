"""Reading and writing images, data sets, and the resumable loop that fits models to them."""
