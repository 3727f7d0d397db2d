"""Tools of the package that know nothing of Prefect or of stores."""
