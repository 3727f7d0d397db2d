from prefect import flow
@flow
def sub(x: float):
    return repr(x)
def entry(x):
    return sub(x)
