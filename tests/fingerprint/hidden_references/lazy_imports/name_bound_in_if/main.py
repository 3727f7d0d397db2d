def entry(x):
    from mod import f
    return f(x)
