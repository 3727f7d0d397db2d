import pkg
def entry(x):
    return getattr(pkg, 'a').f(x)
