"""The one resize of the project, which working copies are made and views are rendered with."""

from PIL import Image


def resize(image: Image.Image, width: int, height: int) -> Image.Image:
    """Bicubic with antialiasing in two passes, width first, each rounded to 8 bits.

    Two calls, because the order of the passes inside one call depends on the version of Pillow.
    """
    bicubic = Image.Resampling.BICUBIC
    return image.resize((width, image.height), bicubic).resize((width, height), bicubic)
