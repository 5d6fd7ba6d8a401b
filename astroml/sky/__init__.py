"""The simulated sky, in torch: light, lensing, seeing and noise, to FITS files or to a store."""
