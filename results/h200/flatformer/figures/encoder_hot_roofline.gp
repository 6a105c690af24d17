out = "encoder_hot_roofline"
title = "encoder (hot): measured ceilings"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce, 3 invocations, n = 14 cases, run c9453bf9-aef2-4249-ab71-d15bc7f6782d"
in = "encoder_hot_roofline.tsv"
array legend[4] = ["fused", "flatformer", "lean", "windows_flash"]
array roof[7] = ["dram_copy, 4.302 TB/s", "dram_read, 4.541 TB/s", "l2_read, 10.02 TB/s", "fp32_fma, 64.02 TFLOP/s", "fp16x2_fma, 66.55 TFLOP/s", "fp64_fma, 30.62 TFLOP/s", "tensor_fp16, 661.8 TFLOP/s"]
n = 4
c = 7
lowest = 1516
highest = 7279
width = 1000
array slope[7] = [4302.47069, 4541.44033, 10024.6274, 0, 0, 0, 0]
array flat[7] = [0, 0, 0, 64022.7333, 66546.2929, 30623.866, 661833.321]
load "roofline.gp"
