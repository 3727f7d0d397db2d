"""The object stores in S3 and in Azure Blob Storage."""
