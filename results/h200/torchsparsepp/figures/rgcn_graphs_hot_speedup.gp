out = "rgcn_graphs_hot_speedup"
title = "relational graph convolution, two layers (hot)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce (custom), 2 invocations, n = 5 cases, run 4126c8af-686a-4e76-aeee-1d14a3a159d6"
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
