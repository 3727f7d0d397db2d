import typing
def h(x: int): ...
def entry(x):
    return str(typing.get_type_hints(h))
