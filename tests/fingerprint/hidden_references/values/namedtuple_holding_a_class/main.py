from typing import NamedTuple
class Model:
    def f(self, x):
        return x + 1
class Spec(NamedTuple):
    model: type
    rate: float
S = Spec(Model, 0.1)
def entry(x):
    return S.model().f(x)
