out = "conv_layers_hot_speedup"
title = "layers of MinkUNet by dataflow (hot)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce (custom), 2 invocations, n = 11 cases, run dfe11e40-9566-435f-b7e0-c5312ca180d9"
in = "conv_layers_hot_speedup.tsv"
xlabel = ""
ylabel = "speedup over conv_published, x"
reported = ""
names = "layer scan cin cout stride"
array legend[16] = ["implicit GEMM", "implicit GEMM S=1", "implicit GEMM S=2", "implicit GEMM S=3", "implicit GEMM S=4", "fetch-on-demand", "fetch-on-demand FP32", "fetch-on-demand by tap", "own", "own S=1", "own S=2", "own S=3", "own portable", "gather-scatter grouped", "gather-scatter fused", "gather-scatter by tap"]
n = 16
cases = 11
stacked = 0
longest = 35
width = 1200
load "bars.gp"
