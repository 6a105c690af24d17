out = "layers_llama2_70b_coldw_wins_all"
title = "layers_llama2_70b (coldw): share of cases won, among all rows"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache coldw, regime steady, profile reproduce, 3 invocations, n = 16 cases, run 0d00ed54-f392-40a3-bf07-8b0047bc8ef0"
xlabel = "m"
array panel[1] = ["layers_llama2_70b_coldw_wins_all.tsv"]
array heading[1] = ["NVIDIA H200, measured"]
panels = 1
n = 4
ylabel = "share of cases won"
array legend[4] = ["w4a16_sym", "w4a16_pdl_sym", "w4a16_small_pdl_sym", "cublaslt_fp8"]
stacked = 1
width = 940
height = 440
load "bars.gp"
