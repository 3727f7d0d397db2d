def __getattr__(n):
    import impl
    return getattr(impl, n)
