from ver import __version__
def entry(x):
    return (x, __version__)
