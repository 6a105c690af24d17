out = "networks_train_hot_speedup"
title = "training step of whole networks: forward, gradients of rows and weights (hot)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce (custom), 2 invocations, n = 7 cases, run dfe11e40-9566-435f-b7e0-c5312ca180d9"
in = "networks_train_hot_speedup.tsv"
xlabel = ""
ylabel = "speedup over train_gather_scatter, x"
reported = ""
names = "network scan"
array legend[7] = ["training, gather-scatter grouped", "training, gather-scatter by tap", "training, implicit GEMM S=1", "training, implicit GEMM", "training, tuned, forward with dgrad", "training, tuned, dgrad with wgrad", "training, own"]
n = 7
cases = 7
stacked = 0
longest = 30
width = 1200
load "bars.gp"
