"""Parts that are built for the tests of Kubernetes."""
