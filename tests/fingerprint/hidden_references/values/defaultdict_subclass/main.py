from collections import defaultdict
class Model:
    def __init__(self):
        self.v = 1
class D(defaultdict):
    pass
S = D(Model)
def entry(x):
    S.clear()
    return S['k'].v
