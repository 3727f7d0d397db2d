import pydantic
from typing import Annotated
from val import up
Up = Annotated[int, pydantic.AfterValidator(up)]
class M(pydantic.BaseModel):
    v: 'Up'
def entry(x):
    return M(v=x).v
