import pydantic
from typing import Annotated
@pydantic.validate_call
def h(x: Annotated[int, pydantic.BeforeValidator(lambda v: v + 1)]):
    return x
def entry(x):
    return h(x)
