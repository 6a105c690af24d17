out = "spmm_cold_roofline"
title = "spmm (cold): measured ceilings"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache cold, regime steady, profile reproduce, 3 invocations, n = 78 cases, run 8f0f2c1c-2c53-4826-97ab-13e46776e191"
in = "spmm_cold_roofline.tsv"
array legend[4] = ["published8", "cusparse_best", "paper_rm", "cusparse_rm_or_spmv"]
array roof[6] = ["dram_copy, 4.274 TB/s", "dram_read, 4.643 TB/s", "l2_read, 9.999 TB/s", "fp32_fma, 63.74 TFLOP/s", "fp16x2_fma, 66.72 TFLOP/s", "fp64_fma, 30.7 TFLOP/s"]
n = 4
c = 6
lowest = 0.0971
highest = 42.5
width = 1000
array slope[6] = [4274.0414, 4643.00708, 9999.13549, 0, 0, 0]
array flat[6] = [0, 0, 0, 63735.9417, 66718.7437, 30700.3757]
load "roofline.gp"
