"""The golden kit of a release."""
