def entry(x):
    import pkg
    return pkg.near.f(x)
