"""The loop nests that kernels become, one file per nest, and the code that they share."""
