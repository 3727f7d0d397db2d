import pydantic
@pydantic.validate_call(config=dict(str_to_lower=True))
def h(x: str):
    return x
def entry(x):
    return h('A')
