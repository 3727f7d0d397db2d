def f(x):
    from b import g
    return g(x)
