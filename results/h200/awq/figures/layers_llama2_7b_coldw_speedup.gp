out = "layers_llama2_7b_coldw_speedup"
title = "layers_llama2_7b: speedup (coldw)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache coldw, regime steady, profile reproduce, 3 invocations, n = 16 cases, run 0d00ed54-f392-40a3-bf07-8b0047bc8ef0"
in = "layers_llama2_7b_coldw_speedup.tsv"
xlabel = "m"
ylabel = "speedup, geometric mean over cases, 95 %"
n = 12
logx = 2
logy = 1
band = 1
width = 1060
lowest = 0.833333333
highest = 614.4
ticks = "1 16 64 256"
array legend[12] = ["published over cublas_fp16", "own over cublas_fp16", "own over published", "w4a16_awq2023_gemm over w4a16_gptq", "w4a16_awq2023_gemm over w4a16_gptq_r", "w4a16_awq2023_gemm over cublas_f16", "awq2024 over cublas_f16", "w4a16 over cublas_f16", "w4a16_sym over w4a16", "published over cublas_f16", "own over cublaslt_fp8", "own over w4a16_dequant_cublas"]
m = 0
array place[1] = [486.4]
array value[1] = [0]
array name[1] = [""]
load "lines.gp"
