def entry(x):
    import pkg.deep.mod as m
    return m.f(x)
