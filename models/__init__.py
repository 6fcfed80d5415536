"""timm models with their input contract: build, save, run once, calibrate."""
