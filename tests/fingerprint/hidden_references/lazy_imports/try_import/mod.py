try:
    from a1 import f
except ImportError:
    f = None
