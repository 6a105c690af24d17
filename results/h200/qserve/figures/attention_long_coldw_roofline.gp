out = "attention_long_coldw_roofline"
title = "attention_long (coldw): measured ceilings"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache coldw, regime steady, profile reproduce, 3 invocations, n = 1 cases, run 0941a7c4-736e-4350-bc38-96056bf509cd"
in = "attention_long_coldw_roofline.tsv"
array legend[4] = ["kv4_published", "kv8_published", "kv4_naive", "kv4_own"]
array roof[7] = ["dram_copy, 4.302 TB/s", "dram_read, 4.541 TB/s", "l2_read, 10.17 TB/s", "fp32_fma, 64.03 TFLOP/s", "fp16x2_fma, 66.79 TFLOP/s", "fp64_fma, 30.67 TFLOP/s", "tensor_fp16, 669 TFLOP/s"]
n = 4
c = 7
lowest = 5.167
highest = 22.55
width = 1000
array slope[7] = [4302.12596, 4541.20993, 10170.4751, 0, 0, 0, 0]
array flat[7] = [0, 0, 0, 64026.525, 66792.9185, 30665.118, 668998.022]
load "roofline.gp"
