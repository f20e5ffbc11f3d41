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
# `kubectl apply` keeps a copy of each object in an annotation of at most 256 KiB.
python3 - "$WORK/all.yaml" <<'PYTHON'
import json, sys
for text in open(sys.argv[1]).read().split("\n---\n"):
    size = len(json.dumps(text))
    if size > 250_000:
        sys.exit(f"an object of {size} bytes is too large for kubectl apply:\n{text[:300]}")
PYTHON
equal 'the dashboards' 5 "$(grep -c 'grafana_dashboard: "1"' "$WORK/all.yaml")"
printf '%s lines of manifests\n' "$(wc -l <"$WORK/all.yaml")"
(cd "$ROOT" && python3 ci/lib/docs.py --only kubernetes docs/operations.md)
