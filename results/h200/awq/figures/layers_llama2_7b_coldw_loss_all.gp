out = "layers_llama2_7b_coldw_loss_all"
title = "layers_llama2_7b (coldw): largest loss on any case, among all rows"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache coldw, regime steady, profile reproduce, 3 invocations, n = 16 cases, run 0d00ed54-f392-40a3-bf07-8b0047bc8ef0"
xlabel = "m"
array panel[1] = ["layers_llama2_7b_coldw_loss_all.tsv"]
array heading[1] = ["NVIDIA H200, measured"]
panels = 1
n = 24
rows = 24
reverse = 1
width = 900
height = 678
load "heat.gp"
