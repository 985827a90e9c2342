module hackspace.infra/lab/flux-manifests

go 1.26.0
