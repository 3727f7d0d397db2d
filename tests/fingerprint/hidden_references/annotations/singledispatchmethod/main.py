import functools
class A:
    @functools.singledispatchmethod
    def h(self, x):
        return 'o'
    @h.register
    def _(self, x: int):
        return 'i'
def entry(x):
    return A().h(x)
