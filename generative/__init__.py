"""Models of what real images look like: VAE, conditional VAE, flow, class autoencoders; how each is fitted."""
