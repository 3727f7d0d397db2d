import pydantic
@pydantic.validate_call
def h(x: float):
    return repr(x)
def entry(x):
    return h(x)
