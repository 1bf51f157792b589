"""Kubernetes: reads nodes, Envoy's Pods and the VIP's objects; writes marks, Events and a Lease.

Owns the way to the API server. Must not decide anything about a route, and nothing here is needed
for one: whatever the API does, the worst it can do is to say nothing new.
"""
