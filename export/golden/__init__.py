"""The golden kit of a release: small images with the result of every step, written at export and checked anywhere."""
