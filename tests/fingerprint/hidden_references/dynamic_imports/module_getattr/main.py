import mod
def entry(x):
    return mod.foo
