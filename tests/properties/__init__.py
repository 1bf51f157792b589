"""Laws, tried by hypothesis."""
