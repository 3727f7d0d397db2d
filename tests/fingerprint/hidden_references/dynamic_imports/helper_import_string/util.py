import importlib
def load(path):
    m, _, n = path.rpartition('.')
    return getattr(importlib.import_module(m), n)
