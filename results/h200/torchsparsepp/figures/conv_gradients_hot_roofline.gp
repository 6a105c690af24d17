out = "conv_gradients_hot_roofline"
title = "conv_gradients (hot): measured ceilings"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce (custom), 2 invocations, n = 10 cases, run dfe11e40-9566-435f-b7e0-c5312ca180d9"
in = "conv_gradients_hot_roofline.tsv"
array legend[4] = ["conv_own", "conv_gather", "conv_published", "wgrad_published"]
array roof[7] = ["dram_copy, 4.303 TB/s", "dram_read, 4.542 TB/s", "l2_read, 10.07 TB/s", "fp32_fma, 64.02 TFLOP/s", "fp16x2_fma, 66.72 TFLOP/s", "fp64_fma, 30.68 TFLOP/s", "tensor_fp16, 676.1 TFLOP/s"]
n = 4
c = 7
lowest = 66.47
highest = 1542
width = 1000
array slope[7] = [4302.81572, 4542.43947, 10069.5517, 0, 0, 0, 0]
array flat[7] = [0, 0, 0, 64020.8411, 66724.9167, 30683.8249, 676146.512]
load "roofline.gp"
