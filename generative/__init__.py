"""Generative models of the image distribution: VAE, conditional VAE, normalizing flow, and latents of real images."""
