import dataclasses
class Model:
    v = 1
@dataclasses.dataclass(frozen=True, slots=True)
class S:
    m: type
O = S(Model)
def entry(x):
    return O.m.v
