#!/usr/bin/env bash
# The Kubernetes manifests, as kustomize puts them together. Needs kubectl 1.22 or later.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"

need kubectl python3
build

kubectl kustomize "$ROOT/deploy/kubernetes" >"$WORK/all.yaml"
for kind in Deployment Service ConfigMap ServiceMonitor PrometheusRule; do
    grep -qx "kind: $kind" "$WORK/all.yaml" || fail "no $kind"
done
exits 0 "$POLYGATE" check "$ROOT/deploy/kubernetes/polygate.toml"
printf '%s lines of manifests\n' "$(wc -l <"$WORK/all.yaml")"
(cd "$ROOT" && python3 ci/lib/docs.py --only kubernetes docs/operations.md)
