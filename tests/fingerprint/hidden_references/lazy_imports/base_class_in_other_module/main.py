def entry(x):
    from mod import C
    return C().g(x)
