def entry(x):
    from importlib import import_module
    return import_module('mod').f(x)
