#!/bin/sh
# Takes a node out of the route before it goes down, and waits until the router shows it.
# Usage: prestop.sh NODE [for]     EDGED="ssh mgmt-1 edged" where edged runs on another host.
# It never stands in the way of a shutdown: whatever happens, it ends with 0 after 30 s at most.
node=${1:?usage: prestop.sh NODE [for]}
${EDGED:-edged} drain "$node" --reason "shutdown of $node" --for "${2:-30m}" --wait --timeout 30s \
  || echo "edged did not take $node out in time; going on" >&2
exit 0
