def entry(x):
    from pkg import f
    return f(x)
