module hackspace.infra/lab/rook-manifests

go 1.26.0
