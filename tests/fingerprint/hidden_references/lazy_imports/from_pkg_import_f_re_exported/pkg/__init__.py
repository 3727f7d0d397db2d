from .near import f
