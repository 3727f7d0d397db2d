def entry(x):
    import pkg.mod as m
    return m.f(x)
