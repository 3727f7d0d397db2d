def entry(x):
    from pkg.near import f
    return f(x)
