def entry(x):
    from pkg import near
    return near.f(x)
