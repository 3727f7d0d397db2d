from util import load
def entry(x):
    return load('mod.f')(x)
