out = "layers_llama2_7b_coldw_wins"
title = "layers_llama2_7b (coldw): share of cases won, among published"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache coldw, regime steady, profile reproduce, 3 invocations, n = 16 cases, run 0d00ed54-f392-40a3-bf07-8b0047bc8ef0"
xlabel = "m"
array panel[1] = ["layers_llama2_7b_coldw_wins.tsv"]
array heading[1] = ["NVIDIA H200, measured"]
panels = 1
n = 8
ylabel = "share of cases won"
array legend[8] = ["w4a16_awq2023_gemm", "w4a16_awq2023_gemv", "w4a16_awq2024_gemv", "w4a16_awq2024_gemv_f32", "w4a16_awq2024_gemm", "w4a16_awq2024_gemm_f32", "w4a16_gptq", "w4a16_gptq_r"]
stacked = 1
width = 940
height = 440
load "bars.gp"
