"""Tools that know neither Prefect nor stores."""
