out = "glue_norm_cold_roofline"
title = "glue_norm (cold): measured ceilings"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache cold, regime steady, profile reproduce, 3 invocations, n = 20 cases, run 0941a7c4-736e-4350-bc38-96056bf509cd"
in = "glue_norm_cold_roofline.tsv"
array legend[3] = ["quant_own", "quant_unfused", "quant_published"]
array roof[6] = ["dram_copy, 4.302 TB/s", "dram_read, 4.541 TB/s", "l2_read, 10.17 TB/s", "fp32_fma, 64.03 TFLOP/s", "fp16x2_fma, 66.79 TFLOP/s", "fp64_fma, 30.67 TFLOP/s"]
n = 3
c = 6
lowest = 0.5925
highest = 3.498
width = 1000
array slope[6] = [4302.12596, 4541.20993, 10170.4751, 0, 0, 0]
array flat[6] = [0, 0, 0, 64026.525, 66792.9185, 30665.118]
load "roofline.gp"
