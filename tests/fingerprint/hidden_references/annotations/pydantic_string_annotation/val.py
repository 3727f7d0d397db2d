def up(v):
    return v + 1
