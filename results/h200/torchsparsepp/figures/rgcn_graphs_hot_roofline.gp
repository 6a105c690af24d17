out = "rgcn_graphs_hot_roofline"
title = "rgcn_graphs (hot): measured ceilings"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce (custom), 2 invocations, n = 5 cases, run 4126c8af-686a-4e76-aeee-1d14a3a159d6"
in = "rgcn_graphs_hot_roofline.tsv"
array legend[4] = ["rgcn_published", "cusparse_relation", "rgcn_vendor", "rgcn_own"]
array roof[6] = ["dram_copy, 4.277 TB/s", "dram_read, 4.647 TB/s", "l2_read, 8.664 TB/s", "fp32_fma, 64.03 TFLOP/s", "fp16x2_fma, 66.61 TFLOP/s", "fp64_fma, 30.63 TFLOP/s"]
n = 4
c = 6
lowest = 53.58
highest = 186.1
width = 1000
array slope[6] = [4277.10601, 4647.10634, 8663.53085, 0, 0, 0]
array flat[6] = [0, 0, 0, 64026.525, 66606.7543, 30628.2024]
load "roofline.gp"
