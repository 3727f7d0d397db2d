import pkg
def go(m, x):
    return m.a.f(x)
def entry(x):
    return go(pkg, x)
