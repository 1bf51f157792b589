"""Real parts: Envoy, a BGP speaker, a kube-apiserver, a browser."""
