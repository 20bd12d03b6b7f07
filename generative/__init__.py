"""Models of what real images look like: VAE, conditional VAE, flow, and the latents of real images."""
