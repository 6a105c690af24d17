out = "rgcn_graphs_hot_speedup"
title = "relational graph convolution, two layers (hot)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce (custom), 2 invocations, n = 5 cases, run dfe11e40-9566-435f-b7e0-c5312ca180d9"
in = "rgcn_graphs_hot_speedup.tsv"
xlabel = ""
ylabel = "speedup over cusparse_relation, x"
reported = ""
names = "graph"
array legend[10] = ["cuBLAS + cuSPARSE COO by relation", "cuBLAS + cuSPARSE stacked", "cuBLAS + cuSPARSE compact", "gather-scatter grouped", "fetch-on-demand", "fetch-on-demand by relation", "implicit GEMM", "implicit GEMM sorted", "own", "own ordered"]
n = 10
cases = 5
stacked = 0
longest = 7
width = 1200
load "bars.gp"
