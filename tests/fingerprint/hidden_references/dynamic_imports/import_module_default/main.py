import importlib
def entry(x, name='mod'):
    return importlib.import_module(name).f(x)
