__version__ = '1'
def entry(x):
    return (x, __version__)
