class C:
    def __init__(self, r):
        self.r = r
    def __reduce__(self):
        raise TypeError('no')
O = C(1)
def entry(x):
    return O.r
