class B:
    def g(self, x):
        return x + 1
