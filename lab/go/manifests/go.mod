module hackspace.infra/lab/manifests

go 1.26.0
