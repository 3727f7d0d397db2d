__all__ = ['a']
def entry(x):
    return (x, list(__all__))
