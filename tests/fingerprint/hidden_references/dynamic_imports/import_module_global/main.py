import importlib
PLUGIN = 'mod'
def entry(x):
    return importlib.import_module(PLUGIN).f(x)
