from .f import f
