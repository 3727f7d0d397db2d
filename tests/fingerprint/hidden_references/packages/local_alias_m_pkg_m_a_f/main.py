import pkg
def entry(x):
    m = pkg
    return m.a.f(x)
