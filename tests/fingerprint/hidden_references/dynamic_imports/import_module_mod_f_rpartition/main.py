import importlib
def entry(x):
    m, _, n = 'mod.f'.rpartition('.')
    return getattr(importlib.import_module(m), n)(x)
