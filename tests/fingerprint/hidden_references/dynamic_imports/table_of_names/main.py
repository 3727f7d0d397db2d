import importlib
T = {'a': 'mod'}
def entry(x):
    return importlib.import_module(T['a']).f(x)
