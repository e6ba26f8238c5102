"""Object stores, found by the scheme of their URI. boto3 is imported here alone."""
