"""A package whose modules import one another relatively."""
