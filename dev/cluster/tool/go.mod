module scalekit.test/cluster-tool

go 1.26.0
