def __getattr__(n):
    return 1
